// RAII, exceptions on this side only, a callback that throws, and a picture that starts from another.
//
// full MODEL PICTURE: draws with the model folder MODEL and writes PICTURE.
#include <kandinsky.hpp>

#include <iostream>

int main(int count, char **arguments) {
    if (count != 3) {
        std::cerr << "usage: full MODEL PICTURE\n";
        return 2;
    }
    try {
        kandinsky::engine engine(arguments[1]);
        kandinsky::request request;
        request.set("prompt", "a red apple").set("steps", "4").set("prior_steps", "2").set("seed", "7");

        // Failures are exceptions that carry the status.
        try {
            request.set("steps", "many");
            return 1;
        } catch (const kandinsky::error &failure) {
            if (failure.status() != KD_BAD_REQUEST)
                return 1;
            std::cout << failure.what() << '\n';
        }

        kandinsky::job job(engine, request);
        int steps = 0, previews = 0;
        job.set("preview_every", "2")
            .on_progress([&](std::string_view, std::uint64_t, std::uint64_t) { ++steps; })
            .on_preview([&](std::uint64_t, std::uint64_t, std::uint64_t, kd_picture) { ++previews; })
            .on_log([](std::uint32_t, std::string_view message) { std::cout << message << '\n'; })
            .start();
        while (!job.wait(std::chrono::milliseconds(100))) {
        }
        const auto pictures = job.pictures();

        // An exception of a callback stops the job and comes out of wait.
        kandinsky::job stopped(engine, request);
        stopped.on_progress([](std::string_view, std::uint64_t, std::uint64_t) { throw 7; }).start();
        try {
            stopped.wait();
            return 1;
        } catch (int thrown) {
            if (thrown != 7)
                return 1;
        }
        if (stopped.state() != KD_JOB_CANCELLED)
            return 1;

        // The picture becomes the start of another one.
        request.set("start.kind", "edit").set("start.picture", pictures.at(0)).set("start.strength", "0.6");
        const auto edited = engine.run(request);
        edited.save(arguments[2], true);
        if (kandinsky::picture::open(arguments[2]).pixels() != edited.pixels() || edited.request().empty())
            return 1;
        const auto [width, height] = edited.size();
        std::cout << width << 'x' << height << ", " << steps << " steps, " << previews << " previews\n";
        return steps > 8 && previews == 2 ? 0 : 1;
    } catch (const kandinsky::error &failure) {
        std::cerr << failure.status() << ": " << failure.what() << '\n';
        return 1;
    }
}

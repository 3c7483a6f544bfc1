/* kandinsky.hpp: kandinsky.h for C++17, header-only. Handles have owners, failures are exceptions, callbacks are
 * functions of any kind, and an exception of a callback comes out of `wait`.
 *
 *     kandinsky::engine engine;
 *     kandinsky::request request;
 *     request.set("prompt", "a red apple");
 *     engine.run(request).save("apple.png");
 */
#ifndef KANDINSKY_HPP
#define KANDINSKY_HPP

#include "kandinsky.h"

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kandinsky {

/* A failed call. */
class error : public std::runtime_error {
public:
    error(kd_status status, const std::string &message, std::string stage, std::string cause)
        : std::runtime_error(message), status_(status), stage_(std::move(stage)), cause_(std::move(cause)) {}
    kd_status status() const noexcept { return status_; }
    const std::string &stage() const noexcept { return stage_; }
    const std::string &cause() const noexcept { return cause_; }

private:
    kd_status status_;
    std::string stage_, cause_;
};

namespace detail {

/* Reads a text: its length first. `call` is (buffer, capacity, length) -> status. */
template <class Call> std::pair<kd_status, std::string> text(Call call) {
    std::size_t length = 0;
    std::string said;
    kd_status status = call(nullptr, std::size_t{0}, &length);
    if (status == KD_OK) {
        said.resize(length + 1);
        status = call(said.data(), said.size(), &length);
        said.resize(length);
    }
    return {status, said};
}

inline std::string about(kd_error error, std::string_view key) {
    return text([&](char *buffer, std::size_t capacity, std::size_t *length) {
               return kd_error_get(error, key.data(), key.size(), buffer, capacity, length);
           })
        .second;
}

[[noreturn]] inline void fail(kd_status status, kd_error said) {
    error failure(status, about(said, "message"), about(said, "stage"), about(said, "cause"));
    kd_error_free(said);
    throw failure;
}

/* Makes a call that takes a kd_error, and throws what it says. */
template <class Call> void check(Call call) {
    kd_error said = 0;
    if (kd_status status = call(&said); status != KD_OK)
        fail(status, said);
}

/* Reads a text of a call that takes a kd_error. */
template <class Call> std::string checked_text(Call call) {
    std::size_t length = 0;
    check([&](kd_error *error) { return call(nullptr, std::size_t{0}, &length, error); });
    std::string said(length + 1, '\0');
    check([&](kd_error *error) { return call(said.data(), said.size(), &length, error); });
    said.resize(length);
    return said;
}

inline kd_status free_job(kd_job job) { return kd_job_free(job, nullptr); }

/* Owns a handle. */
template <kd_status (*Free)(std::uint64_t)> class owner {
public:
    owner() = default;
    explicit owner(std::uint64_t handle) noexcept : handle_(handle) {}
    owner(owner &&other) noexcept : handle_(std::exchange(other.handle_, 0)) {}
    owner &operator=(owner &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;
    ~owner() {
        if (handle_)
            Free(handle_);
    }
    std::uint64_t handle() const noexcept { return handle_; }

private:
    std::uint64_t handle_ = 0;
};

} // namespace detail

/* Pixels, and the request that drew them. */
class picture : public detail::owner<kd_picture_free> {
public:
    using owner::owner;

    /* A picture of RGB (3 channels) or RGBA (4), which is copied. */
    static picture from_pixels(const std::uint8_t *pixels, std::size_t length, std::uint32_t width,
        std::uint32_t height, std::uint32_t channels, std::size_t stride) {
        kd_picture made = 0;
        detail::check([&](kd_error *error) {
            return kd_picture_from_pixels(pixels, length, width, height, channels, stride, &made, error);
        });
        return picture(made);
    }
    static picture decode(const std::vector<std::uint8_t> &bytes) {
        kd_picture made = 0;
        const std::uint8_t none = 0;
        const std::uint8_t *data = bytes.empty() ? &none : bytes.data();
        detail::check([&](kd_error *error) { return kd_picture_decode(data, bytes.size(), &made, error); });
        return picture(made);
    }
    static picture open(std::string_view path) {
        kd_picture made = 0;
        detail::check([&](kd_error *error) { return kd_picture_open(path.data(), path.size(), &made, error); });
        return picture(made);
    }

    /* Width and height in pixels. */
    std::pair<std::uint32_t, std::uint32_t> size() const {
        std::uint32_t width = 0, height = 0;
        detail::check([&](kd_error *error) { return kd_picture_size(handle(), &width, &height, error); });
        return {width, height};
    }
    /* The pixels without gaps: RGB (3 channels) or RGBA (4). */
    std::vector<std::uint8_t> pixels(std::uint32_t channels = 3) const {
        auto [width, height] = size();
        const std::size_t stride = std::size_t{width} * channels;
        std::vector<std::uint8_t> bytes(stride * height);
        detail::check([&](kd_error *error) {
            return kd_picture_pixels(handle(), channels, stride, bytes.data(), bytes.size(), error);
        });
        return bytes;
    }
    /* The bytes of a file: png, webp, jpeg, jpeg:90. */
    std::vector<std::uint8_t> encode(std::string_view format = "png") const {
        std::size_t length = 0;
        detail::check([&](kd_error *error) {
            return kd_picture_encode(handle(), format.data(), format.size(), nullptr, 0, &length, error);
        });
        std::vector<std::uint8_t> bytes(length);
        detail::check([&](kd_error *error) {
            return kd_picture_encode(
                handle(), format.data(), format.size(), bytes.data(), bytes.size(), &length, error);
        });
        return bytes;
    }
    void save(std::string_view path, bool replace = false) const {
        detail::check([&](kd_error *error) {
            return kd_picture_save(handle(), path.data(), path.size(), replace ? 1 : 0, error);
        });
    }
    /* The JSON of the request that drew it, or nothing. */
    std::string request() const {
        return detail::checked_text([&](char *buffer, std::size_t capacity, std::size_t *length, kd_error *error) {
            return kd_picture_request(handle(), buffer, capacity, length, error);
        });
    }
};

/* What to draw. */
class request : public detail::owner<kd_request_free> {
public:
    request() : owner(make()) {}
    explicit request(std::string_view json) : request() { set_json(json); }

    request &set(std::string_view key, std::string_view value) {
        detail::check([&](kd_error *error) {
            return kd_request_set(handle(), key.data(), key.size(), value.data(), value.size(), error);
        });
        return *this;
    }
    request &set(std::string_view key, const picture &value) {
        detail::check([&](kd_error *error) {
            return kd_request_set_picture(handle(), key.data(), key.size(), value.handle(), error);
        });
        return *this;
    }
    request &set_json(std::string_view json) {
        detail::check(
            [&](kd_error *error) { return kd_request_set_json(handle(), json.data(), json.size(), error); });
        return *this;
    }
    request &add(const picture &named) {
        detail::check([&](kd_error *error) { return kd_request_add_picture(handle(), named.handle(), error); });
        return *this;
    }
    std::string json() const {
        return detail::checked_text([&](char *buffer, std::size_t capacity, std::size_t *length, kd_error *error) {
            return kd_request_json(handle(), buffer, capacity, length, error);
        });
    }

private:
    static kd_request make() {
        kd_request made = 0;
        detail::check([&](kd_error *error) { return kd_request_new(&made, error); });
        return made;
    }
};

/* A model folder on a runtime; any number of threads may use one. */
class engine : public detail::owner<kd_engine_free> {
public:
    /* Without a model it is looked for; `options` is JSON. */
    explicit engine(std::string_view model = {}, std::string_view options = {}) : owner(open(model, options)) {}

    /* JSON about it. */
    std::string describe() const {
        return detail::checked_text([&](char *buffer, std::size_t capacity, std::size_t *length, kd_error *error) {
            return kd_engine_describe(handle(), buffer, capacity, length, error);
        });
    }
    /* Draws one picture. */
    picture run(const request &asked) const {
        kd_picture drawn = 0;
        detail::check(
            [&](kd_error *error) { return kd_engine_run(handle(), asked.handle(), &drawn, error); });
        return picture(drawn);
    }
    /* The request's JSON with every number settled. */
    std::string check(const request &asked) const {
        std::string json(std::size_t{1} << 20, '\0');
        std::size_t length = 0;
        detail::check([&](kd_error *error) {
            return kd_request_check(asked.handle(), handle(), json.data(), json.size(), &length, error);
        });
        json.resize(length);
        return json;
    }

private:
    static kd_engine open(std::string_view model, std::string_view options) {
        kd_engine opened = 0;
        detail::check([&](kd_error *error) {
            return kd_engine_open(
                model.data(), model.size(), options.data(), options.size(), &opened, error);
        });
        return opened;
    }
};

/* A request at work. Its callbacks are called on its own thread; what one throws cancels the job, and `wait`
 * throws it on. */
class job {
public:
    using progress = std::function<void(std::string_view stage, std::uint64_t step, std::uint64_t total)>;
    using preview = std::function<void(std::uint64_t index, std::uint64_t step, std::uint64_t total, kd_picture)>;
    using log = std::function<void(std::uint32_t level, std::string_view message)>;

    job(const engine &on, const request &asked) : callbacks_(new callbacks), job_(make(on, asked)) {}
    job(job &&other) noexcept = default;
    job &operator=(job &&other) noexcept {
        std::swap(callbacks_, other.callbacks_);
        job_ = std::move(other.job_);
        return *this;
    }

    job &set(std::string_view key, std::string_view value) {
        detail::check([&](kd_error *error) {
            return kd_job_set(job_.handle(), key.data(), key.size(), value.data(), value.size(), error);
        });
        return *this;
    }
    job &on_progress(progress call) {
        callbacks_->on_progress = std::move(call);
        detail::check([&](kd_error *error) {
            return kd_job_on_progress(job_.handle(), &callbacks::progressed, callbacks_.get(), error);
        });
        return *this;
    }
    job &on_preview(preview call) {
        callbacks_->on_preview = std::move(call);
        detail::check([&](kd_error *error) {
            return kd_job_on_preview(job_.handle(), &callbacks::previewed, callbacks_.get(), error);
        });
        return *this;
    }
    job &on_log(log call) {
        callbacks_->on_log = std::move(call);
        detail::check([&](kd_error *error) {
            return kd_job_on_log(job_.handle(), &callbacks::logged, callbacks_.get(), error);
        });
        return *this;
    }
    job &start() {
        detail::check([&](kd_error *error) { return kd_job_start(job_.handle(), error); });
        return *this;
    }
    std::uint32_t state() const {
        std::uint32_t state = 0;
        detail::check([&](kd_error *error) { return kd_job_poll(job_.handle(), &state, error); });
        return state;
    }
    /* Waits for the end; throws what failed, and what a callback threw. */
    void wait() const { wait_for(KD_FOREVER); }
    /* The same for so long; false when the job goes on. */
    bool wait(std::chrono::milliseconds most) const {
        return wait_for(most.count() < 0 ? 0 : static_cast<std::uint64_t>(most.count()));
    }
    void cancel() const {
        detail::check([&](kd_error *error) { return kd_job_cancel(job_.handle(), error); });
    }
    std::vector<picture> pictures() const {
        std::size_t count = 0;
        detail::check([&](kd_error *error) { return kd_job_count(job_.handle(), &count, error); });
        std::vector<picture> all;
        for (std::size_t index = 0; index < count; ++index) {
            kd_picture one = 0;
            detail::check([&](kd_error *error) { return kd_job_picture(job_.handle(), index, &one, error); });
            all.emplace_back(one);
        }
        return all;
    }
    std::string report() const {
        return detail::checked_text([&](char *buffer, std::size_t capacity, std::size_t *length, kd_error *error) {
            return kd_job_report(job_.handle(), buffer, capacity, length, error);
        });
    }
    kd_job handle() const noexcept { return job_.handle(); }

private:
    struct callbacks {
        progress on_progress;
        preview on_preview;
        log on_log;
        std::exception_ptr thrown;

        /* No exception goes through C. */
        template <class Call> void guarded(kd_job of, Call call) noexcept {
            if (thrown)
                return;
            try {
                call();
            } catch (...) {
                thrown = std::current_exception();
                kd_job_cancel(of, nullptr);
            }
        }
        static void progressed(void *data, kd_job of, const char *stage, std::size_t length, std::uint64_t step,
            std::uint64_t total) {
            auto *self = static_cast<callbacks *>(data);
            self->guarded(of, [&] { self->on_progress(std::string_view(stage, length), step, total); });
        }
        static void previewed(void *data, kd_job of, std::uint64_t index, std::uint64_t step, std::uint64_t total,
            kd_picture shown) {
            auto *self = static_cast<callbacks *>(data);
            self->guarded(of, [&] { self->on_preview(index, step, total, shown); });
        }
        static void logged(
            void *data, kd_job of, std::uint32_t level, const char *message, std::size_t length) {
            auto *self = static_cast<callbacks *>(data);
            self->guarded(of, [&] { self->on_log(level, std::string_view(message, length)); });
        }
    };

    bool wait_for(std::uint64_t milliseconds) const {
        kd_error said = 0;
        const kd_status status = kd_job_wait(job_.handle(), milliseconds, &said);
        if (status == KD_PENDING) {
            kd_error_free(said);
            return false;
        }
        if (status != KD_REENTRANT && callbacks_->thrown) {
            kd_error_free(said);
            std::rethrow_exception(callbacks_->thrown);
        }
        if (status != KD_OK)
            detail::fail(status, said);
        return true;
    }
    static kd_job make(const engine &on, const request &asked) {
        kd_job made = 0;
        detail::check(
            [&](kd_error *error) { return kd_job_new(on.handle(), asked.handle(), &made, error); });
        return made;
    }

    /* The job goes first: afterwards nothing calls back. */
    std::unique_ptr<callbacks> callbacks_;
    detail::owner<detail::free_job> job_;
};

} // namespace kandinsky

#endif

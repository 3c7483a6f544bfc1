#include <kandinsky.h>
#include <stdio.h>

int main(void) {
    kd_engine engine = 0;
    kd_request request = 0;
    kd_picture picture = 0;
    kd_error error = 0;
    char message[512] = "apple.png is drawn";
    size_t length = 0;
    (void)(kd_engine_open(NULL, 0, NULL, 0, &engine, &error)
        || kd_request_new(&request, &error)
        || kd_request_set(request, KD_TEXT("prompt"), KD_TEXT("a red apple"), &error)
        || kd_engine_run(engine, request, &picture, &error)
        || kd_picture_save(picture, KD_TEXT("apple.png"), 0, &error));
    if (error)
        kd_error_get(error, KD_TEXT("message"), message, sizeof message, &length);
    puts(message);
    kd_picture_free(picture), kd_request_free(request), kd_engine_free(engine);
    return error ? 1 : 0;
}

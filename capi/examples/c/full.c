/* A request by key, a job with progress, previews and a log, a wait with a time limit, and a cancelled job.
 *
 * full MODEL PICTURE: draws with the model folder MODEL and writes PICTURE.
 */
#include <kandinsky.h>
#include <stdio.h>
#include <stdlib.h>

struct seen {
    unsigned steps;
    unsigned previews;
    int stop; /* cancel after the first step */
};

static void on_progress(
    void *user_data, kd_job job, const char *stage, size_t stage_length, uint64_t step, uint64_t total) {
    struct seen *seen = user_data;
    (void)stage_length;
    seen->steps++;
    printf("%s %u of %u\n", stage, (unsigned)step, (unsigned)total);
    if (seen->stop)
        kd_job_cancel(job, NULL); /* allowed in a callback; waiting is not */
}

static void on_preview(
    void *user_data, kd_job job, uint64_t index, uint64_t step, uint64_t total, kd_picture picture) {
    struct seen *seen = user_data;
    uint32_t width = 0, height = 0;
    (void)job, (void)index, (void)step, (void)total;
    if (kd_picture_size(picture, &width, &height, NULL) == KD_OK && width > 0 && height > 0)
        seen->previews++; /* the handle is good until this returns */
}

static void on_log(void *user_data, kd_job job, uint32_t level, const char *message, size_t message_length) {
    (void)user_data, (void)job, (void)message_length;
    printf("%s: %s\n", level == KD_LOG_WARNING ? "warning" : "info", message);
}

/* Prints what went wrong, and ends the program. */
static void need(kd_status status, kd_error error) {
    char message[1024] = "", stage[32] = "";
    size_t length = 0;
    if (status == KD_OK)
        return;
    kd_error_get(error, KD_TEXT("message"), message, sizeof message, &length);
    kd_error_get(error, KD_TEXT("stage"), stage, sizeof stage, &length);
    fprintf(stderr, "status %u: %s %s\n", (unsigned)status, message, stage);
    kd_error_free(error);
    exit(1);
}

static kd_job start(kd_engine engine, kd_request request, struct seen *seen) {
    kd_job job = 0;
    kd_error error = 0;
    need(kd_job_new(engine, request, &job, &error), error);
    need(kd_job_set(job, KD_TEXT("preview_every"), KD_TEXT("2"), &error), error);
    need(kd_job_set(job, KD_TEXT("deadline_ms"), KD_TEXT("600000"), &error), error);
    need(kd_job_on_progress(job, on_progress, seen, &error), error);
    need(kd_job_on_preview(job, on_preview, seen, &error), error);
    need(kd_job_on_log(job, on_log, NULL, &error), error);
    need(kd_job_start(job, &error), error);
    return job;
}

int main(int count, char **arguments) {
    kd_engine engine = 0;
    kd_request request = 0;
    kd_picture picture = 0;
    kd_job job = 0;
    kd_error error = 0;
    kd_status status = KD_PENDING;
    struct seen seen = {0, 0, 0}, stopped = {0, 0, 1};
    uint32_t width = 0, height = 0;
    unsigned char *pixels = NULL;

    if (count != 3) {
        fputs("usage: full MODEL PICTURE\n", stderr);
        return 2;
    }
    need(kd_engine_open(KD_TEXT(arguments[1]), NULL, 0, &engine, &error), error);
    need(kd_request_new(&request, &error), error);
    need(kd_request_set(request, KD_TEXT("prompt"), KD_TEXT("красное яблоко"), &error), error);
    need(kd_request_set(request, KD_TEXT("steps"), KD_TEXT("4"), &error), error);
    need(kd_request_set(request, KD_TEXT("prior_steps"), KD_TEXT("2"), &error), error);
    need(kd_request_set(request, KD_TEXT("seed"), KD_TEXT("7"), &error), error);

    /* A job that is stopped by its own callback. */
    job = start(engine, request, &stopped);
    status = kd_job_wait(job, KD_FOREVER, NULL);
    if (status != KD_CANCELLED) {
        fprintf(stderr, "the cancelled job ended with %u\n", (unsigned)status);
        return 1;
    }
    need(kd_job_free(job, &error), error);

    /* A job that is waited for a little at a time. */
    job = start(engine, request, &seen);
    do {
        status = kd_job_wait(job, 100, NULL);
    } while (status == KD_PENDING);
    need(kd_job_wait(job, 0, &error), error);
    need(kd_job_picture(job, 0, &picture, &error), error);
    need(kd_job_free(job, &error), error);

    /* Pixels in the caller's memory, and a file. */
    need(kd_picture_size(picture, &width, &height, &error), error);
    pixels = malloc((size_t)width * height * 4);
    if (!pixels)
        return 1;
    need(kd_picture_pixels(picture, 4, (size_t)width * 4, pixels, (size_t)width * height * 4, &error), error);
    printf("%ux%u, alpha %u, %u steps, %u previews\n", (unsigned)width, (unsigned)height, pixels[3], seen.steps,
        seen.previews);
    free(pixels);
    need(kd_picture_save(picture, KD_TEXT(arguments[2]), 1, &error), error);

    kd_picture_free(picture);
    kd_request_free(request);
    kd_engine_free(engine);
    return seen.previews == 2 && stopped.steps == 1 ? 0 : 1;
}

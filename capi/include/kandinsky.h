/* kandinsky.h: pictures from text, in C. Generated from capi/src; do not edit.
 *
 *     #include <kandinsky.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         kd_engine engine = 0;
 *         kd_request request = 0;
 *         kd_picture picture = 0;
 *         kd_error error = 0;
 *         char message[512] = "apple.png is drawn";
 *         size_t length = 0;
 *         (void)(kd_engine_open(NULL, 0, NULL, 0, &engine, &error)
 *             || kd_request_new(&request, &error)
 *             || kd_request_set(request, KD_TEXT("prompt"), KD_TEXT("a red apple"), &error)
 *             || kd_engine_run(engine, request, &picture, &error)
 *             || kd_picture_save(picture, KD_TEXT("apple.png"), 0, &error));
 *         if (error)
 *             kd_error_get(error, KD_TEXT("message"), message, sizeof message, &length);
 *         puts(message);
 *         kd_picture_free(picture), kd_request_free(request), kd_engine_free(engine);
 *         return error ? 1 : 0;
 *     }
 *
 * cc draw.c $(pkg-config --cflags --libs kandinsky)
 *
 * Calls
 *   Every function returns a status: KD_OK, which is 0, or the code of what went wrong. Those that can fail in
 *   ways worth telling have a last parameter `error`: where it is not null, it becomes an error object after a
 *   failure, to be asked with kd_error_get and freed with kd_error_free, and 0 after a success. Answers come
 *   through pointers, which are zeroed before anything else; no structure crosses by value. Pointers must not be
 *   null unless they are marked KD_NULLABLE; a null one is KD_NULL_ARGUMENT.
 *
 * Handles
 *   Engines, requests, jobs, pictures and errors are numbers, not pointers. 0 is none. A handle that is null, was
 *   freed, was never given or is of another object is KD_INVALID_HANDLE, everywhere and always: nothing of it is
 *   undefined. What has a handle lives until the handle is freed and nobody else needs it, so handles may be freed
 *   in any order and from any thread: a job keeps its engine, a request its pictures.
 *
 * Memory
 *   What goes in is copied before the call returns; the caller's memory is the caller's. What comes out is copied
 *   to memory of the caller: a text to `buffer`, which holds `capacity` bytes, with a NUL behind it; `length`
 *   becomes its bytes without the NUL, also where the buffer is too small (KD_TOO_SMALL) or null with a capacity
 *   of 0, which asks for the length alone. Bytes and pixels likewise, without a NUL. The library never hands out
 *   memory that would have to be freed. Texts are UTF-8 with an explicit length; KD_TEXT("…") gives both.
 *
 * Threads
 *   Every function may be called from any thread at any time, also two at once with one handle. Jobs of one engine
 *   take turns, in the order in which they were started; engines are independent of each other.
 *
 * Callbacks
 *   They are called on the job's own thread, one at a time, between kd_job_start and the job's end; when
 *   kd_job_wait has given an outcome or kd_job_free has returned, none of the job runs or will. The engine waits
 *   for them, so they had better be quick. No lock is held: a callback may call everything but what waits for a
 *   job, kd_job_wait, kd_job_free and kd_engine_run, which are KD_REENTRANT there and change nothing. It must
 *   not let a C++ exception or a longjmp out, nor wait for a thread that waits for the job.
 *
 * Defects
 *   A defect of the library is KD_PANIC, never the end of the process: the call has had no other effect than what
 *   it says, and every object can still be used. The library prints nothing.
 */
#ifndef KANDINSKY_H
#define KANDINSKY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KD_VERSION_MAJOR 0
#define KD_VERSION_MINOR 1
#define KD_VERSION_PATCH 0

/* A pointer that may be null. */
#define KD_NULLABLE
/* A text literal or NUL-ended text, and its length. */
#define KD_TEXT(text) (text), strlen(text)
/* Waits without end. */
#define KD_FOREVER UINT64_MAX

#ifdef __cplusplus
extern "C" {
#endif

/* What every function returns. */
typedef uint32_t kd_status;
#define KD_OK 0u /* success */
#define KD_BAD_REQUEST 2u /* an argument or the request is not valid */
#define KD_BAD_PROMPT 3u /* the prompt cannot be used */
#define KD_BAD_IMAGE 4u /* a picture cannot be used */
#define KD_NO_MODEL 5u /* no model folder was found */
#define KD_BAD_MODEL 6u /* the model folder is damaged or of another kind */
#define KD_BAD_CHECKPOINT 7u /* the checkpoint cannot be exported */
#define KD_NO_RUNTIME 8u /* the runtime is missing, of a wrong version or broken */
#define KD_RUNTIME_FAULT 9u /* the runtime failed while running a graph */
#define KD_IO 10u /* a file could not be read or written */
#define KD_EXISTS 11u /* the file exists; `replace` replaces it */
#define KD_OUT_OF_MEMORY 12u /* not enough memory */
#define KD_NULL_ARGUMENT 20u /* a pointer is null that must not be */
#define KD_INVALID_HANDLE 21u /* a handle is null, stale, forged or of another object */
#define KD_TOO_SMALL 22u /* a buffer does not hold the answer */
#define KD_REENTRANT 23u /* a callback made a call that waits for a job */
#define KD_PENDING 24u /* the job has not ended yet */
#define KD_INTERNAL 70u /* a defect of this program */
#define KD_PANIC 71u /* a defect that would have ended the process */
#define KD_DEADLINE 124u /* the deadline passed */
#define KD_CANCELLED 130u /* the job was cancelled */

/* States of a job, and levels of messages. */
#define KD_JOB_NEW 0u /* the job has not been started */
#define KD_JOB_QUEUED 1u /* it waits for its turn */
#define KD_JOB_RUNNING 2u /* it draws */
#define KD_JOB_DONE 3u /* its pictures are there */
#define KD_JOB_FAILED 4u /* it failed, or its deadline passed */
#define KD_JOB_CANCELLED 5u /* it was cancelled */
#define KD_LOG_INFO 1u /* good to know */
#define KD_LOG_WARNING 2u /* something is not as the caller may think */

/* Handles; 0 is none. */
typedef uint64_t kd_engine; /* a model folder on a runtime */
typedef uint64_t kd_request; /* what to draw */
typedef uint64_t kd_picture; /* pixels, and the request that drew them */
typedef uint64_t kd_job; /* a request at work */
typedef uint64_t kd_error; /* what there is to say of a failed call */

/* `step` of `total` of the stage is done. `stage` has `stage_length` bytes and a NUL, and lives during the call. */
typedef void (*kd_progress_callback)(KD_NULLABLE void *user_data, kd_job job, const char *stage, size_t stage_length, uint64_t step, uint64_t total);

/*
 * What picture `index` of the job looks like after `step` of `total` denoising steps. `picture` is the library's:
 * its handle is freed after the call, so copy or save what shall last.
 */
typedef void (*kd_preview_callback)(KD_NULLABLE void *user_data, kd_job job, uint64_t index, uint64_t step, uint64_t total, kd_picture picture);

/*
 * What the caller should know: `level` is one of `KD_LOG_…`. `message` has `message_length` bytes and a NUL, and
 * lives during the call.
 */
typedef void (*kd_log_callback)(KD_NULLABLE void *user_data, kd_job job, uint32_t level, const char *message, size_t message_length);

/* ---- The library ---- */

/*
 * The version of the library that runs, which may be newer than the header's `KD_VERSION_…`. Functions and
 * statuses are only ever added while the major version is the same.
 */
kd_status kd_version(uint32_t *major, uint32_t *minor, uint32_t *patch);

/* The name of a status, such as `bad_request`: the one that `kandinsky --json` prints; `ok` for `KD_OK`. */
kd_status kd_status_name(uint32_t status, KD_NULLABLE char *buffer, size_t capacity, size_t *length);

/* What a status means, in a sentence. */
kd_status kd_status_meaning(uint32_t status, KD_NULLABLE char *buffer, size_t capacity, size_t *length);

/* ---- Engines ---- */

/*
 * Opens a model folder. `model` is its path; without one it is looked for in `KANDINSKY_MODEL`, then in
 * `models/emoji` beside the executable and in the working directory. `options` is a JSON object, or
 * nothing: `runtime` (`auto`, `ort`, `openvino`, `tract`, `cuda`, `tensorrt`), `precision` (`f32`, `bf16`,
 * `f16`, `auto`), `library` and `openvino` (paths of ONNX Runtime's and OpenVINO's libraries), `threads`,
 * `device`, and the command line's other options of runtimes by their names with `_`, sizes in bytes.
 *
 * An engine is never changed: any number of threads may use one. Its jobs take turns.
 */
kd_status kd_engine_open(
    KD_NULLABLE const char *model,
    size_t model_length,
    KD_NULLABLE const char *options,
    size_t options_length,
    kd_engine *engine,
    KD_NULLABLE kd_error *error);

/*
 * JSON about an engine: `model`, `path`, `runtime`, `notes` (why it is not another runtime), `defaults`,
 * and `keys`, every key of `kd_request_set` with what it takes.
 */
kd_status kd_engine_describe(
    kd_engine engine,
    KD_NULLABLE char *buffer,
    size_t capacity,
    size_t *length,
    KD_NULLABLE kd_error *error);

/*
 * Draws one picture and waits for it: the short way, without a job. The picture is the caller's to free.
 * In a callback it is `KD_REENTRANT`.
 */
kd_status kd_engine_run(
    kd_engine engine,
    kd_request request,
    kd_picture *picture,
    KD_NULLABLE kd_error *error);

/* Frees an engine. Jobs that have it keep it until they end. */
kd_status kd_engine_free(kd_engine engine);

/* ---- Requests ---- */

/*
 * A request with nothing set: what is not set comes from the model. A request may be used for any number of
 * jobs, each of which takes it as it is then.
 */
kd_status kd_request_new(kd_request *request, KD_NULLABLE kd_error *error);

/*
 * Sets one setting. `key` is its path in the request's JSON, such as `prompt`, `steps`, `start.kind` or
 * `mix.0.weight`; docs/c_api.md has all of them. Texts are taken as they are, numbers and lists as in
 * JSON, sizes as `512x768`, pictures as the path of their file.
 */
kd_status kd_request_set(
    kd_request request,
    const char *key,
    size_t key_length,
    const char *value,
    size_t value_length,
    KD_NULLABLE kd_error *error);

/*
 * Sets everything from JSON, in place of what was set: that of `kd_request_json`, or that which a picture
 * carries. Pictures that were added stay. A key that no request has is refused.
 */
kd_status kd_request_set_json(
    kd_request request,
    const char *json,
    size_t json_length,
    KD_NULLABLE kd_error *error);

/*
 * Sets a picture in memory, where `key` takes one: `start.picture`, `start.mask`, `negative_picture`,
 * `mix.0.picture`, … The request holds the picture from now on; the handle may be freed.
 */
kd_status kd_request_set_picture(
    kd_request request,
    const char *key,
    size_t key_length,
    kd_picture picture,
    KD_NULLABLE kd_error *error);

/* Adds a picture that the request's JSON names by its hash alone, as that of a picture in memory does. */
kd_status kd_request_add_picture(kd_request request, kd_picture picture, KD_NULLABLE kd_error *error);

/* The request's JSON as it is. */
kd_status kd_request_json(
    kd_request request,
    KD_NULLABLE char *buffer,
    size_t capacity,
    size_t *length,
    KD_NULLABLE kd_error *error);

/*
 * Checks a request and gives its JSON with every number settled, as an engine would draw it. A seed that is
 * not set is drawn anew each time.
 */
kd_status kd_request_check(
    kd_request request,
    kd_engine engine,
    KD_NULLABLE char *buffer,
    size_t capacity,
    size_t *length,
    KD_NULLABLE kd_error *error);

/* Frees a request. Jobs that were made of it are not touched. */
kd_status kd_request_free(kd_request request);

/* ---- Pictures ---- */

/*
 * A picture of the caller's pixels, which are copied: 8 bits a channel, rows from the top, `channels` is 3
 * (RGB) or 4 (RGBA, not premultiplied), `stride` bytes from one row to the next, `length` bytes in all.
 * Pictures are opaque: what is transparent is laid over white, and remembered as the hole of an inpainting
 * without a mask.
 */
kd_status kd_picture_from_pixels(
    const uint8_t *pixels,
    size_t length,
    uint32_t width,
    uint32_t height,
    uint32_t channels,
    size_t stride,
    kd_picture *picture,
    KD_NULLABLE kd_error *error);

/* A picture of the bytes of a PNG, JPEG or WebP file. */
kd_status kd_picture_decode(
    const uint8_t *bytes,
    size_t length,
    kd_picture *picture,
    KD_NULLABLE kd_error *error);

/* A picture of a PNG, JPEG or WebP file. */
kd_status kd_picture_open(
    const char *path,
    size_t path_length,
    kd_picture *picture,
    KD_NULLABLE kd_error *error);

/* Width and height in pixels. */
kd_status kd_picture_size(kd_picture picture, uint32_t *width, uint32_t *height, KD_NULLABLE kd_error *error);

/*
 * Copies the pixels to the caller's buffer of `capacity` bytes: 8 bits a channel, rows from the top,
 * `channels` is 3 (RGB) or 4 (RGBA, opaque), `stride` bytes from one row to the next; bytes between rows
 * are left alone.
 */
kd_status kd_picture_pixels(
    kd_picture picture,
    uint32_t channels,
    size_t stride,
    KD_NULLABLE uint8_t *buffer,
    size_t capacity,
    KD_NULLABLE kd_error *error);

/*
 * The bytes of a file of the picture, which carries its request: `format` is `png`, `webp`, `jpeg`, or
 * `jpeg:90` for a quality from 1 to 100.
 */
kd_status kd_picture_encode(
    kd_picture picture,
    const char *format,
    size_t format_length,
    KD_NULLABLE uint8_t *buffer,
    size_t capacity,
    size_t *length,
    KD_NULLABLE kd_error *error);

/*
 * Writes a file, of the format of its name, whole or not at all. One that exists is `KD_EXISTS`, unless
 * `replace` is not 0.
 */
kd_status kd_picture_save(
    kd_picture picture,
    const char *path,
    size_t path_length,
    uint32_t replace,
    KD_NULLABLE kd_error *error);

/*
 * The JSON of the request that drew the picture, which `kd_request_set_json` takes; the empty text for a
 * picture that carries none.
 */
kd_status kd_picture_request(
    kd_picture picture,
    KD_NULLABLE char *buffer,
    size_t capacity,
    size_t *length,
    KD_NULLABLE kd_error *error);

/* Frees a picture. Requests that have it keep it. */
kd_status kd_picture_free(kd_picture picture);

/* ---- Jobs ---- */

/* A job that will draw a request, as it is now, on an engine. It does nothing before `kd_job_start`. */
kd_status kd_job_new(kd_engine engine, kd_request request, kd_job *job, KD_NULLABLE kd_error *error);

/*
 * Sets one setting of a job that has not been started: `deadline_ms`, milliseconds from the start, waiting
 * for its turn included, after which it ends with `KD_DEADLINE`; `preview_every`, denoising steps from one
 * preview to the next (1); `preview_kind`, `linear` (coarse, at no cost to speak of) or `decode`.
 */
kd_status kd_job_set(
    kd_job job,
    const char *key,
    size_t key_length,
    const char *value,
    size_t value_length,
    KD_NULLABLE kd_error *error);

/* Sets what is called after every step of every stage; null for nothing. */
kd_status kd_job_on_progress(
    kd_job job,
    KD_NULLABLE kd_progress_callback callback,
    KD_NULLABLE void *user_data,
    KD_NULLABLE kd_error *error);

/* Sets what is called with previews of the pictures; null for nothing. */
kd_status kd_job_on_preview(
    kd_job job,
    KD_NULLABLE kd_preview_callback callback,
    KD_NULLABLE void *user_data,
    KD_NULLABLE kd_error *error);

/* Sets what is called with messages; null for nothing. The library prints none by itself. */
kd_status kd_job_on_log(
    kd_job job,
    KD_NULLABLE kd_log_callback callback,
    KD_NULLABLE void *user_data,
    KD_NULLABLE kd_error *error);

/* Starts a job on a thread of its own and returns at once. Jobs of one engine take turns, in order. */
kd_status kd_job_start(kd_job job, KD_NULLABLE kd_error *error);

/* The state of a job, one of `KD_JOB_…`. It never goes back, and of the last three it reaches one. */
kd_status kd_job_poll(kd_job job, uint32_t *state, KD_NULLABLE kd_error *error);

/*
 * Waits until a job has ended, `timeout_ms` at most (0 looks, `KD_FOREVER` waits), and gives its outcome:
 * `KD_OK`, `KD_CANCELLED`, `KD_DEADLINE`, or the status and the error object of what failed; `KD_PENDING`
 * when it goes on. Any number of threads may wait. In a callback it is `KD_REENTRANT`.
 */
kd_status kd_job_wait(kd_job job, uint64_t timeout_ms, KD_NULLABLE kd_error *error);

/*
 * Asks a job to stop, before, while or after it runs, from any thread and from callbacks. It ends before
 * its next network call; one that has ended stays as it is.
 */
kd_status kd_job_cancel(kd_job job, KD_NULLABLE kd_error *error);

/* Pictures of a job that is done; `KD_PENDING` before, and the status of a job that failed. */
kd_status kd_job_count(kd_job job, size_t *count, KD_NULLABLE kd_error *error);

/* Picture `index` of a job that is done, from 0. The handle is the caller's to free, and outlives the job. */
kd_status kd_job_picture(kd_job job, size_t index, kd_picture *picture, KD_NULLABLE kd_error *error);

/*
 * JSON about a job that is done: `runtime`, `regime`, `job` (the request with every number
 * settled), `seconds` by stage, `notes`.
 */
kd_status kd_job_report(
    kd_job job,
    KD_NULLABLE char *buffer,
    size_t capacity,
    size_t *length,
    KD_NULLABLE kd_error *error);

/*
 * Frees a job. One that runs is cancelled and waited for, a network call at most: afterwards no callback of
 * it runs. In a callback it is `KD_REENTRANT`.
 */
kd_status kd_job_free(kd_job job, KD_NULLABLE kd_error *error);

/* ---- Errors ---- */

/*
 * What an error says. `key` is one of:
 * `message`, one sentence that names the value and the limit;
 * `kind`, the name of its status;
 * `call`, the function that failed;
 * `stage`, the stage of the picture that failed (`load`, `look`, `encode`, `prior`, `denoise`, `decode`),
 * or the empty text;
 * `cause`, what brought it about (words of the operating system, of a panic), or the empty text.
 */
kd_status kd_error_get(
    kd_error error,
    const char *key,
    size_t key_length,
    KD_NULLABLE char *buffer,
    size_t capacity,
    size_t *length);

/* The status that came with an error. */
kd_status kd_error_status(kd_error error, uint32_t *status);

/* Frees an error. */
kd_status kd_error_free(kd_error error);

#ifdef __cplusplus
}
#endif

#endif

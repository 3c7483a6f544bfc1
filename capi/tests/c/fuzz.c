/* Random sequences of calls, with a model of what is alive: fuzz MODEL SEQUENCES SEED.
 *
 * Every handle of a call is live, stale, null, forged or of another object, and the status must agree: a dead one is
 * never a success, a live one never KD_INVALID_HANDLE, and nothing is ever KD_PANIC or KD_INTERNAL. Texts and buffers
 * lie in blocks of exactly their length. A second thread uses and frees what the first one shares with it. */
#define _POSIX_C_SOURCE 200809L
#include <kandinsky.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum kind { ENGINE, REQUEST, PICTURE, JOB, ERROR, KINDS };
enum { LIVE = 12, STALE = 64, SHARED = 64 };

static uint64_t live[KINDS][LIVE];
static uint64_t stale[STALE];
static _Atomic uint64_t shared[SHARED];
static atomic_int stop;
static unsigned long calls, refused, drawn, cancelled, reentrant;
static const char *model;
static uint64_t seed;

static uint64_t next(uint64_t *state) {
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

static unsigned below(unsigned n) { return (unsigned)(next(&seed) % n); }

#define MUST(condition, ...) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "line %d: ", __LINE__); \
            fprintf(stderr, __VA_ARGS__); \
            fputc('\n', stderr); \
            abort(); \
        } \
    } while (0)

static void sane(kd_status status) {
    MUST(status != KD_PANIC && status != KD_INTERNAL && status <= 255, "status %u", (unsigned)status);
}

/* A handle and whether it is a live one of its kind. */
struct pick {
    uint64_t handle;
    int alive;
    int place;
};

static uint64_t any(enum kind kind) { return live[kind][below(LIVE)]; }

static struct pick pick(enum kind kind) {
    struct pick picked = {0, 0, (int)below(LIVE)};
    enum kind other = (enum kind)below(KINDS);
    if (below(10) < 8) {
        int tries = 0;
        while (!live[kind][picked.place] && tries++ < LIVE)
            picked.place = (picked.place + 1) % LIVE;
        picked.handle = live[kind][picked.place];
        picked.alive = picked.handle != 0;
        return picked;
    }
    switch (below(5)) {
    case 0:
        picked.handle = stale[below(STALE)];
        break;
    case 1:
        picked.handle = any(kind) ^ (UINT64_C(1) << below(64));
        break;
    case 2:
        picked.handle = other == kind ? 0 : any(other);
        break;
    case 3:
        picked.handle = next(&seed);
        break;
    default:
        break;
    }
    return picked;
}

static void put(enum kind kind, uint64_t handle) {
    unsigned place = below(LIVE);
    MUST(handle != 0, "a success gave no handle");
    for (unsigned i = 0; i < LIVE && live[kind][place]; i++)
        place = (place + 1) % LIVE;
    if (live[kind][place]) {
        /* Full: the one that lies there goes. */
        kd_status status = KD_OK;
        uint64_t old = live[kind][place];
        switch (kind) {
        case ENGINE:
            status = kd_engine_free(old);
            break;
        case REQUEST:
            status = kd_request_free(old);
            break;
        case PICTURE:
            status = kd_picture_free(old);
            break;
        case JOB:
            status = kd_job_free(old, NULL);
            break;
        default:
            status = kd_error_free(old);
        }
        MUST(status == KD_OK, "freeing gave %u", (unsigned)status);
        stale[below(STALE)] = old;
    }
    live[kind][place] = handle;
}

/* What every call must have done; `alive` says whether all its handles were. */
static int judged(kd_status status, int alive, uint64_t *error) {
    calls++;
    sane(status);
    if (status != KD_OK)
        refused++;
    MUST(alive ? status != KD_INVALID_HANDLE : status != KD_OK, "status %u, alive %d", (unsigned)status, alive);
    if (error) {
        MUST((*error != 0) == (status != KD_OK), "status %u and error %llu", (unsigned)status,
            (unsigned long long)*error);
        if (*error)
            put(ERROR, *error);
    }
    return status == KD_OK;
}

/* A block of exactly `length` bytes, freed by `done`. */
static char *block(const char *text, size_t length) {
    char *bytes = malloc(length ? length : 1);
    MUST(bytes, "no memory");
    memcpy(bytes, text, length);
    return bytes;
}

static const char *KEYS[] = {"prompt", "steps", "size", "seed", "mix.0.text", "mix.0.weight", "mix.1.picture",
    "start.kind", "start.strength", "start.picture", "start.mask", "negative", "count", "guidance", "seeds", "", ".",
    "mix.*", "prompt.3", "start.frame.extend.left", "weighted", "я", "mix.0", "sampler", "negative_picture"};
static const char *VALUES[] = {"a fox", "1", "2", "64x64", "[1,2]", "edit", "inpaint", "noise", "0.5", "-1", "true", "",
    "\xff\xfe", "1e400", "null", "[]", "{}", "99999999999999999999", "no/such.png", "ddim"};
#define SMALL "\"steps\":1,\"prior_steps\":2,\"size\":{\"width\":64,\"height\":64}"
static const char *JSONS[] = {"{\"prompt\":\"x\"," SMALL "}", "{\"colour\":1}", "[", "{" SMALL ",\"start\":{\"kind\":\"edit\"}}",
    "{\"mix\":[{\"text\":\"a\",\"weight\":1}]," SMALL "}", "{\"request\":{\"prompt\":\"x\"," SMALL "},\"model\":\"m\"}",
    "{\"prompt\":[\"a\",\"b\"],\"count\":2," SMALL "}", "\"text\""};
#define ONE_OF(list) (list[below(sizeof list / sizeof *list)])

static void free_one(enum kind kind) {
    struct pick picked = pick(kind);
    kd_status status;
    uint64_t error = 1;
    if (kind == ENGINE && below(5000) != 0 && picked.alive)
        return;
    switch (kind) {
    case ENGINE:
        status = kd_engine_free(picked.handle);
        break;
    case REQUEST:
        status = kd_request_free(picked.handle);
        break;
    case PICTURE:
        status = kd_picture_free(picked.handle);
        break;
    case JOB:
        status = kd_job_free(picked.handle, &error);
        if (error)
            kd_error_free(error);
        break;
    default:
        status = kd_error_free(picked.handle);
    }
    judged(status, picked.alive, NULL);
    MUST(picked.alive ? status == KD_OK : status == KD_INVALID_HANDLE, "freeing gave %u", (unsigned)status);
    if (picked.alive) {
        live[kind][picked.place] = 0;
        stale[below(STALE)] = picked.handle;
    }
}

static void open_engine(void) {
    uint64_t engine = 1, error = 1;
    const char *options = below(4) ? "{\"runtime\":\"ort\",\"threads\":1}" : ONE_OF(JSONS);
    int good = strstr(options, "runtime") != NULL;
    const char *path = good ? model : "no/such/model";
    char *folder = block(path, strlen(path)), *json = block(options, strlen(options));
    kd_status status = kd_engine_open(folder, strlen(path), json, strlen(options), &engine, &error);
    free(folder), free(json);
    if (judged(status, 1, &error))
        put(ENGINE, engine);
    else
        MUST(engine == 0 && !good, "status %u", (unsigned)status);
}

static void request_call(void) {
    struct pick request = pick(REQUEST), picture = pick(PICTURE), engine = pick(ENGINE);
    uint64_t error = 1, made = 1;
    size_t length = 7;
    const char *key = ONE_OF(KEYS), *value = ONE_OF(VALUES), *json = ONE_OF(JSONS);
    char *key_block = block(key, strlen(key)), *value_block = block(value, strlen(value));
    char *json_block = block(json, strlen(json));
    size_t capacity = below(3) ? below(40) : 4096;
    char *buffer = malloc(capacity ? capacity : 1);
    MUST(buffer, "no memory");
    switch (below(8)) {
    case 0:
        if (judged(kd_request_new(&made, &error), 1, &error)) {
            /* Small, so that what is drawn of it is drawn soon. */
            MUST(kd_request_set_json(made, KD_TEXT(JSONS[0]), NULL) == KD_OK, "no JSON");
            put(REQUEST, made);
        }
        break;
    case 1:
    case 2:
        judged(kd_request_set(request.handle, key_block, strlen(key), value_block, strlen(value), &error), request.alive,
            &error);
        break;
    case 3:
        judged(kd_request_set_json(request.handle, json_block, strlen(json), &error), request.alive, &error);
        break;
    case 4:
        judged(kd_request_set_picture(request.handle, key_block, strlen(key), picture.handle, &error),
            request.alive && picture.alive, &error);
        break;
    case 5:
        judged(kd_request_add_picture(request.handle, picture.handle, &error), request.alive && picture.alive, &error);
        break;
    case 6:
        judged(kd_request_json(request.handle, buffer, capacity, &length, &error), request.alive, &error);
        break;
    default:
        judged(kd_request_check(request.handle, engine.handle, buffer, capacity, &length, &error),
            request.alive && engine.alive, &error);
    }
    free(key_block), free(value_block), free(json_block), free(buffer);
}

static void picture_call(void) {
    struct pick picture = pick(PICTURE);
    uint64_t error = 1, made = 1;
    uint32_t width = below(6), height = below(6), channels = 2 + below(4);
    size_t stride = below(30), length = below(120), capacity = below(200), needed = 7;
    uint8_t *bytes = calloc(length ? length : 1, 1), *buffer = malloc(capacity ? capacity : 1);
    static const char *FORMATS[] = {"png", "webp", "jpeg", "jpeg:1", "jpeg:x", "gif", ""};
    const char *format = ONE_OF(FORMATS);
    char *format_block = block(format, strlen(format));
    MUST(bytes && buffer, "no memory");
    switch (below(7)) {
    case 0:
    case 1:
        if (below(2))
            width = 64, height = 64, channels = 3 + below(2), stride = 64 * channels, length = 64 * stride,
            bytes = realloc(bytes, length), memset(bytes, (int)below(256), length);
        if (judged(kd_picture_from_pixels(bytes, length, width, height, channels, stride, &made, &error), 1, &error))
            put(PICTURE, made);
        break;
    case 2:
        if (judged(kd_picture_decode(bytes, length, &made, &error), 1, &error))
            put(PICTURE, made);
        break;
    case 3:
        judged(kd_picture_size(picture.handle, &width, &height, &error), picture.alive, &error);
        break;
    case 4:
        judged(kd_picture_pixels(picture.handle, channels, stride, buffer, capacity, &error), picture.alive, &error);
        break;
    case 5:
        judged(kd_picture_encode(picture.handle, format_block, strlen(format), buffer, capacity, &needed, &error),
            picture.alive, &error);
        break;
    default:
        judged(kd_picture_request(picture.handle, (char *)buffer, capacity, &needed, &error), picture.alive, &error);
    }
    free(bytes), free(buffer), free(format_block);
}

static void on_progress(void *data, kd_job job, const char *stage, size_t length, uint64_t step, uint64_t total) {
    uint32_t state = 9;
    MUST(strlen(stage) == length && step <= total, "%s", stage);
    MUST(kd_job_wait(job, 0, NULL) == KD_REENTRANT, "a callback waited");
    MUST(kd_job_free(job, NULL) == KD_REENTRANT, "a callback freed");
    /* Its own handle is live until the one who frees it has taken it. */
    sane(kd_job_poll(job, &state, NULL));
    if ((uintptr_t)data % 12 == step)
        sane(kd_job_cancel(job, NULL));
    reentrant++;
}

static void on_preview(void *data, kd_job job, uint64_t index, uint64_t step, uint64_t total, kd_picture picture) {
    uint32_t width = 0, height = 0;
    (void)job, (void)index, (void)step, (void)total;
    MUST(kd_picture_size(picture, &width, &height, NULL) == KD_OK, "a preview has no size");
    if ((uintptr_t)data % 2)
        MUST(kd_picture_free(picture) == KD_OK, "a preview cannot be freed");
}

static void on_log(void *data, kd_job job, uint32_t level, const char *message, size_t length) {
    (void)data, (void)job;
    MUST(strlen(message) == length && (level == KD_LOG_INFO || level == KD_LOG_WARNING), "%s", message);
}

static void job_call(void) {
    struct pick job = pick(JOB), request = pick(REQUEST), engine = pick(ENGINE);
    uint64_t error = 1, made = 1;
    uint32_t state = 9;
    size_t count = 7, capacity = below(200);
    char *buffer = malloc(capacity ? capacity : 1);
    void *data = (void *)(uintptr_t)below(100);
    static const char *JOB_KEYS[] = {"deadline_ms", "preview_every", "preview_kind", "x"};
    const char *key = ONE_OF(JOB_KEYS), *value = ONE_OF(VALUES);
    kd_status status;
    MUST(buffer, "no memory");
    switch (below(14)) {
    case 0:
    case 1:
        if (judged(kd_job_new(engine.handle, request.handle, &made, &error), engine.alive && request.alive, &error))
            put(JOB, made);
        break;
    case 2:
        judged(kd_job_set(job.handle, KD_TEXT(key), KD_TEXT(value), &error), job.alive, &error);
        break;
    case 3:
        judged(kd_job_on_progress(job.handle, below(4) ? on_progress : NULL, data, &error), job.alive, &error);
        break;
    case 4:
        judged(kd_job_on_preview(job.handle, below(4) ? on_preview : NULL, data, &error), job.alive, &error);
        break;
    case 5:
        judged(kd_job_on_log(job.handle, below(4) ? on_log : NULL, data, &error), job.alive, &error);
        break;
    case 6:
        /* Drawing takes time: most jobs are not started. */
        if (job.alive && below(400))
            break;
        judged(kd_job_start(job.handle, &error), job.alive, &error);
        break;
    case 7:
        judged(kd_job_poll(job.handle, &state, &error), job.alive, &error);
        break;
    case 8:
        status = kd_job_wait(job.handle, below(2), &error);
        drawn += status == KD_OK, cancelled += status == KD_CANCELLED;
        judged(status, job.alive, &error);
        if (status == KD_OK || status == KD_CANCELLED) {
            MUST(kd_job_poll(job.handle, &state, NULL) == KD_OK, "no state");
            MUST(state == (status == KD_OK ? KD_JOB_DONE : KD_JOB_CANCELLED), "state %u", (unsigned)state);
        }
        break;
    case 9:
        judged(kd_job_cancel(job.handle, &error), job.alive, &error);
        break;
    case 10:
        judged(kd_job_count(job.handle, &count, &error), job.alive, &error);
        break;
    case 11:
        if (judged(kd_job_picture(job.handle, below(2), &made, &error), job.alive, &error))
            put(PICTURE, made);
        break;
    case 12:
        judged(kd_job_report(job.handle, buffer, capacity, &count, &error), job.alive, &error);
        break;
    default:
        judged(kd_engine_describe(engine.handle, buffer, capacity, &count, &error), engine.alive, &error);
    }
    free(buffer);
}

/* A job that is drawn to its end, so that done jobs and drawn pictures are among what is alive. */
static void draw(void) {
    struct pick engine = pick(ENGINE);
    uint64_t request = 0, job = 0, error = 1;
    if (!engine.alive)
        return;
    MUST(kd_request_new(&request, NULL) == KD_OK, "no request");
    MUST(kd_request_set_json(request, KD_TEXT(JSONS[0]), NULL) == KD_OK, "no JSON");
    MUST(kd_job_new(engine.handle, request, &job, NULL) == KD_OK, "no job");
    MUST(kd_job_on_progress(job, on_progress, (void *)(uintptr_t)below(100), NULL) == KD_OK, "no callback");
    MUST(kd_job_start(job, NULL) == KD_OK, "no start");
    if (below(2)) {
        kd_status status = kd_job_wait(job, KD_FOREVER, &error);
        drawn += status == KD_OK, cancelled += status == KD_CANCELLED;
        MUST(status == KD_OK || status == KD_CANCELLED, "status %u", (unsigned)status);
        kd_error_free(error);
    }
    put(REQUEST, request), put(JOB, job);
}

static void error_call(void) {
    static const char *ABOUT[] = {"message", "kind", "call", "stage", "cause", "x", ""};
    struct pick error = pick(ERROR);
    const char *key = ONE_OF(ABOUT);
    size_t capacity = below(120), length = 7;
    char *buffer = malloc(capacity ? capacity : 1), *key_block = block(key, strlen(key));
    uint32_t status = 0;
    MUST(buffer, "no memory");
    if (below(2))
        judged(kd_error_get(error.handle, key_block, strlen(key), buffer, capacity, &length), error.alive, NULL);
    else
        judged(kd_error_status(error.handle, &status), error.alive, NULL);
    free(buffer), free(key_block);
}

/* Gives an object to the ring that both threads use, or uses one of it; whoever comes first frees it. */
static void shared_call(uint64_t *state) {
    _Atomic uint64_t *slot = &shared[next(state) % SHARED];
    uint64_t handle = atomic_load(slot), made = 0, picture = 0;
    uint8_t pixels[3 * 4 * 4] = {0};
    char text[64];
    size_t length = 0;
    switch (next(state) % 6) {
    case 0:
        if (kd_request_new(&made, NULL) == KD_OK) {
            handle = atomic_exchange(slot, made);
            sane(kd_request_free(handle)), sane(kd_picture_free(handle));
        }
        break;
    case 1:
        if (kd_picture_from_pixels(pixels, sizeof pixels, 4, 4, 3, 12, &picture, NULL) == KD_OK) {
            handle = atomic_exchange(slot, picture);
            sane(kd_request_free(handle)), sane(kd_picture_free(handle));
        }
        break;
    case 2:
        sane(kd_request_set(handle, KD_TEXT("prompt"), KD_TEXT("shared"), NULL));
        break;
    case 3:
        sane(kd_picture_pixels(handle, 3, 12, pixels, sizeof pixels, NULL));
        break;
    case 4:
        sane(kd_request_json(handle, text, sizeof text, &length, NULL));
        break;
    default:
        sane(kd_request_free(handle)), sane(kd_picture_free(handle));
    }
}

static void *other_thread(void *state) {
    while (!atomic_load(&stop)) {
        /* Often enough to meet the other one, without taking its processor. */
        const struct timespec moment = {0, 20000};
        nanosleep(&moment, NULL);
        for (int i = 0; i < 8; i++)
            shared_call(state);
    }
    return NULL;
}

static int has_engine(void) {
    for (unsigned i = 0; i < LIVE; i++)
        if (live[ENGINE][i])
            return 1;
    return 0;
}

static void sequence(void) {
    unsigned length = 1 + below(24);
    if (below(3000) == 0)
        draw();
    for (unsigned i = 0; i < length; i++) {
        switch (below(12)) {
        case 0:
            free_one((enum kind)below(KINDS));
            break;
        case 1:
        case 2:
        case 3:
            request_call();
            break;
        case 4:
        case 5:
        case 6:
            picture_call();
            break;
        case 7:
        case 8:
        case 9:
            job_call();
            break;
        case 10:
            error_call();
            break;
        default:
            shared_call(&seed);
        }
    }
    if (!has_engine() || below(200000) == 0)
        open_engine();
}

int main(int count, char **arguments) {
    unsigned long sequences = count > 2 ? strtoul(arguments[2], NULL, 10) : 0;
    uint64_t other_seed = 0x1234567;
    pthread_t other;
    if (count != 4)
        return 2;
    model = arguments[1];
    seed = strtoull(arguments[3], NULL, 10) | 1;
    while (!has_engine())
        open_engine();
    if (pthread_create(&other, NULL, other_thread, &other_seed) != 0)
        return 2;
    for (unsigned long i = 0; i < sequences; i++)
        sequence();
    atomic_store(&stop, 1);
    pthread_join(other, NULL);
    for (unsigned i = 0; i < SHARED; i++)
        kd_request_free(shared[i]), kd_picture_free(shared[i]);
    /* Jobs go last here, in the order that would be wrong. */
    for (unsigned i = 0; i < LIVE; i++) {
        kd_engine_free(live[ENGINE][i]), kd_request_free(live[REQUEST][i]), kd_picture_free(live[PICTURE][i]);
        kd_error_free(live[ERROR][i]), kd_job_free(live[JOB][i], NULL);
    }
    printf("%lu sequences, %lu calls, %lu refused, %lu drawn, %lu cancelled, %lu progress callbacks\n", sequences, calls,
        refused, drawn, cancelled, reentrant);
    return calls > sequences && refused > calls / 20 ? 0 : 1;
}

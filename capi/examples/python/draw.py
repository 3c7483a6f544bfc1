"""Draws a picture through the C interface with ctypes alone.

draw.py LIBRARY MODEL PICTURE: loads libkandinsky.so, draws with the model folder MODEL and writes PICTURE.
"""

import ctypes
import sys
from ctypes import CFUNCTYPE, byref, c_char_p, c_size_t, c_uint32, c_uint64, c_void_p, create_string_buffer

Progress = CFUNCTYPE(None, c_void_p, c_uint64, c_char_p, c_size_t, c_uint64, c_uint64)
FOREVER = 2**64 - 1
PENDING = 24


def text(value):
    data = value.encode()
    return data, c_size_t(len(data))


class Kandinsky:
    """Calls functions of the library and raises what they say."""

    def __init__(self, path):
        self.library = ctypes.CDLL(path)

    def __call__(self, name, *arguments):
        error = c_uint64()
        function = getattr(self.library, name)
        function.restype = c_uint32
        status = function(*arguments, byref(error))
        if status:
            message, length = create_string_buffer(1024), c_size_t()
            self.library.kd_error_get(error, *text("message"), message, c_size_t(1024), byref(length))
            self.library.kd_error_free(error)
            raise RuntimeError(f"{name}: status {status}: {message.value.decode()}")


def main(library, model, picture_file):
    call = Kandinsky(library)
    engine, request, job, picture = (c_uint64() for _ in range(4))
    call("kd_engine_open", *text(model), None, c_size_t(0), byref(engine))
    call("kd_request_new", byref(request))
    for key, value in {"prompt": "синее сердце", "steps": "4", "prior_steps": "2", "seed": "7"}.items():
        call("kd_request_set", request, *text(key), *text(value))
    try:
        call("kd_request_set", request, *text("colour"), *text("red"))
        return 1
    except RuntimeError as refused:
        print(refused)

    steps = []
    on_progress = Progress(lambda _data, _job, stage, _length, step, total: steps.append((stage, step, total)))
    call("kd_job_new", engine, request, byref(job))
    call("kd_job_on_progress", job, on_progress, None)
    call("kd_job_start", job)
    call("kd_job_wait", job, c_uint64(FOREVER))
    call("kd_job_picture", job, c_size_t(0), byref(picture))
    call("kd_job_free", job)

    width, height = c_uint32(), c_uint32()
    call("kd_picture_size", picture, byref(width), byref(height))
    pixels = create_string_buffer(width.value * height.value * 3)
    call("kd_picture_pixels", picture, c_uint32(3), c_size_t(width.value * 3), pixels, c_size_t(len(pixels)))
    call("kd_picture_save", picture, *text(picture_file), c_uint32(1))
    print(f"{width.value}x{height.value}, {len(steps)} steps, {len(set(pixels.raw))} levels")
    for kind, handle in (("picture", picture), ("request", request), ("engine", engine)):
        free = getattr(call.library, f"kd_{kind}_free")
        assert free(handle) == 0 and free(handle) == 21, "a handle is freed once"
    return 0 if (b"denoise", 4, 4) in steps else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

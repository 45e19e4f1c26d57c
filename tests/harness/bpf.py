# SPDX-License-Identifier: Apache-2.0
"""The bpf system call, as far as tests need it (linux/bpf.h)."""
import ctypes
import errno
import os
import struct

MAP_LOOKUP_ELEM, OBJ_GET = 1, 7
OBJ_GET_INFO_BY_FD, MAP_LOOKUP_BATCH, LINK_CREATE = 15, 24, 28

_libc = ctypes.CDLL(None, use_errno=True)
_BATCH = 8192


def bpf(command, attributes):
    """(the call's result, its attributes as the kernel left them)"""
    buffer = ctypes.create_string_buffer(attributes, 128)
    done = _libc.syscall(321, command, buffer, 128)
    if done < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}")
    return done, buffer.raw


def pinned(path):
    """A descriptor of what is pinned there."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return bpf(OBJ_GET, struct.pack("Q", ctypes.addressof(name)))[0]


class Map:
    """A pinned map; a context manager."""

    def __init__(self, path):
        self.fd = pinned(path)
        info = ctypes.create_string_buffer(256)
        bpf(OBJ_GET_INFO_BY_FD, struct.pack("IIQ", self.fd, 256, ctypes.addressof(info)))
        self.kind, _, self.key_size, self.value_size, _, _ = struct.unpack_from("6I", info.raw)
        self.name = info.raw[24:40].rstrip(b"\0").decode()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.fd)

    def lookup(self, key):
        found = ctypes.create_string_buffer(self.value_size)
        where = ctypes.create_string_buffer(key, self.key_size)
        at = (ctypes.addressof(where), ctypes.addressof(found))
        bpf(MAP_LOOKUP_ELEM, struct.pack("IxxxxQQ", self.fd, *at))
        return found.raw

    def values(self):
        """All values, as chunks of whole ones."""
        keys = ctypes.create_string_buffer(_BATCH * self.key_size)
        values = ctypes.create_string_buffer(_BATCH * self.value_size)
        token = ctypes.create_string_buffer(max(8, self.key_size))
        first = True
        while True:
            spots = [0 if first else ctypes.addressof(token)]
            spots += [ctypes.addressof(each) for each in (token, keys, values)]
            request = ctypes.create_string_buffer(
                struct.pack("QQQQIIQQ", *spots, _BATCH, self.fd, 0, 0), 128
            )
            done = _libc.syscall(321, MAP_LOOKUP_BATCH, request, 128)
            why = ctypes.get_errno()
            if done < 0 and why != errno.ENOENT:
                raise OSError(why, f"read map {self.name}")
            count = struct.unpack_from("I", request.raw, 32)[0]
            yield values.raw[: count * self.value_size]
            if done < 0:
                return
            first = False

    def __len__(self):
        """How many entries there are; of an array, all."""
        return sum(len(chunk) for chunk in self.values()) // self.value_size

    def held(self, start=0, length=None):
        """How many values have something else than zeros in those bytes."""
        end = self.value_size if length is None else start + length
        count = 0
        for chunk in self.values():
            if chunk.count(0) == len(chunk):
                continue
            for at in range(0, len(chunk), self.value_size):
                count += any(chunk[at + start : at + end])
        return count

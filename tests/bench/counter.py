# SPDX-License-Identifier: Apache-2.0
"""Instructions executed by the whole machine, inside the emulator that counts them.

instruction_count.c is the other half: it writes its counts to a file when this executes its mark.
"""
import ctypes
import mmap
import pathlib

MARK = bytes.fromhex("0f1f804b4d5643")  # nopl 0x43564d4b(%rax)
RET = b"\xc3"
ROUNDS, COPIED = 10_000_000, 1 << 20
# mov $ROUNDS, %ecx; dec %ecx; jnz -4; ret
LOOP = b"\xb9" + ROUNDS.to_bytes(4, "little") + b"\xff\xc9\x75\xfc" + RET
# mov %rdx, %rcx; rep movsb; ret
COPY = bytes.fromhex("4889d1f3a4") + RET


class Counter:
    """`path`: where the emulator leaves its counts"""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.memory = mmap.mmap(
            -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        )
        self.used = 0
        self.mark = self._function(MARK + RET)

    def _function(self, code, *arguments):
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory, self.used))
        self.memory[self.used : self.used + len(code)] = code
        self.used += len(code)
        return ctypes.CFUNCTYPE(None, *arguments)(address)

    def read(self):
        """(all, the kernel's) instructions since the machine was started"""
        self.mark()
        every, kernel = self.path.read_text().split()
        return int(every), int(kernel)

    def check(self):
        """What the counter makes of work whose instructions are known.

        Only user space's are compared: the kernel's timer ticks in between. Each is what its work
        adds to reading the counter twice. A copy of 1 MiB by one repeated instruction counts as
        one.
        """
        pointer = ctypes.c_void_p
        loop = self._function(LOOP)
        copy = self._function(COPY, pointer, pointer, ctypes.c_size_t)
        source, target = ctypes.create_string_buffer(COPIED), ctypes.create_string_buffer(COPIED)
        nothing = self._function(RET)
        one_copy = lambda: copy(target, source, COPIED)
        around = min(self._user(nothing) for _ in range(5))
        result = {
            "loop_instructions": 2 * ROUNDS + 2,
            "loop_counted": min(self._user(loop) for _ in range(3)) - around,
            "copy_bytes": COPIED,
            "copy_counted": min(self._user(one_copy) for _ in range(3)) - around,
            "reading_twice": around,
        }
        off = result["loop_counted"] - result["loop_instructions"]
        if abs(off) > ROUNDS // 1000 or result["copy_counted"] > COPIED // 100:
            raise RuntimeError(f"the counter does not count right: {result}")
        return result

    def _user(self, work):
        before = self.read()
        work()
        after = self.read()
        return (after[0] - before[0]) - (after[1] - before[1])


def count_with(peers, counter):
    """Has the peers' script count with `counter` where it would ask perf.

    The machine is ours alone and has one processor: nobody to wait for, nothing to pin. Its clock
    is that of the emulator, so latencies and rates say nothing: no load for them.
    """

    def clean(load, *arguments):
        before = counter.read()
        result = load(*arguments)
        after = counter.read()
        if not result or not result.get("units"):
            raise RuntimeError(f"no result: {result}")
        units = result.pop("units")
        return {
            "ins_per_unit": (after[0] - before[0]) / units,
            "kernel_ins_per_unit": (after[1] - before[1]) / units,
            "units": units,
        }

    iperf = peers.iperf
    peers.iperf = lambda dst, secs, extra: iperf(dst, secs, extra.replace("-A 0,1", ""))
    peers.foreign = dict
    peers.clean = lambda load, *arguments: (
        clean(load, *arguments) if load in (peers.tcp, peers.crr) else {}
    )

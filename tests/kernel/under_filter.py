"""Makes system calls under a filter, and says how each went: `under_filter.py PROGRAM < CALLS`.

PROGRAM is a file with a compiled filter. CALLS is JSON: lists of a number and its arguments; a number is native, or
with "i386" in front one of that architecture, called as its programs do (`int 0x80`). One errno for each is printed,
0 for success. Uses nothing of cloison, which it is a witness against.
"""

import ctypes
import json
import mmap
import sys
from pathlib import Path

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
# push rbx; mov eax,edi; mov ebx,esi; mov ecx,edx; xor edx,edx; int 0x80; pop rbx; ret
INT_0X80 = bytes.fromhex("53 89f8 89f3 89d1 31d2 cd80 5b c3")


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def native(libc: ctypes.CDLL, number: int, *arguments: int) -> int:
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    return ctypes.get_errno() if result == -1 else 0


def i386(number: int, *arguments: int) -> int:
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(INT_0X80)
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_uint, ctypes.c_uint)(address)
    first, second = (*arguments, 0, 0)[:2]
    result = call(number, first, second)
    return -result if -4096 < result < 0 else 0


def main() -> None:
    filter_bytes = Path(sys.argv[1]).read_bytes()
    calls = json.load(sys.stdin)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(filter_bytes) // 8, filter_bytes)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    loaded = libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    assert loaded == 0, f"the kernel refuses the filter: errno {ctypes.get_errno()}"
    answers = [i386(*call[1:]) if call[0] == "i386" else native(libc, *call) for call in calls]
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()

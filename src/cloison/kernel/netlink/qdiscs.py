"""Messages about queueing disciplines: the rate at which an interface sends. Pure.

A token bucket filter (tc-tbf(8)) lets through `burst_bytes` at once and after that `rate_bytes_per_s`; what comes
faster waits, up to `latency_us`, and is then dropped. tc(8) also sends a table of how long each size of packet takes.
The kernel counts that itself where it is told the link layer, and needs no times where it is told the burst in bytes: a
message has 96 bytes instead of 1,124.
Source: net/sched/sch_tbf.c, linux/pkt_sched.h.
"""

import struct

from cloison.base.errors import Invalid
from cloison.kernel.netlink.wire import NEW, PUT, Encoder, Message

_TCMSG = struct.Struct("=BxxxiIII")  # family, (pad), index, handle, parent, info
_RATE = struct.Struct("=BBHhHI")  # cell_log, linklayer, overhead, cell_align, mpu, rate
_QOPT = struct.Struct("=12s12sIII")  # rate, peak rate, limit, buffer, mtu

_RTM_NEWQDISC, _RTM_DELQDISC = 36, 37
_TC_H_ROOT = 0xFFFFFFFF
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_TBF_PARMS, _TCA_TBF_RATE64, _TCA_TBF_BURST = 1, 4, 6
_LINKLAYER_ETHERNET = 1
_U32_MOST = 0xFFFFFFFF
_NS_PER_TICK = 64  # PSCHED_SHIFT 6, the third number of /proc/net/psched
_US_PER_S = 1_000_000


def add_tbf(
    index: int, *, rate_bytes_per_s: int, burst_bytes: int, latency_us: int, is_replacing: bool = False
) -> Message:
    """Limit what an interface sends. One that is limited already is EEXIST, or with `is_replacing` changed.

    `burst_bytes` has to hold the largest packet, its MTU and 14 bytes; less makes the kernel drop those. Raises
    Invalid."""
    if not (rate_bytes_per_s > 0 and 0 < burst_bytes <= _U32_MOST and latency_us > 0):
        raise Invalid(
            f"a rate, a burst and a latency are positive numbers, not {rate_bytes_per_s} B/s, {burst_bytes} B,"
            f" {latency_us} us"
        )
    encoder = _root(index)
    encoder.text(_TCA_KIND, "tbf")
    with encoder.nest(_TCA_OPTIONS):
        encoder.put(_TCA_TBF_PARMS, _parameters(rate_bytes_per_s, burst_bytes, latency_us))
        encoder.u32(_TCA_TBF_BURST, burst_bytes)
        if rate_bytes_per_s >= _U32_MOST:
            encoder.put(_TCA_TBF_RATE64, struct.pack("=Q", rate_bytes_per_s))
    return encoder.message(_RTM_NEWQDISC, PUT if is_replacing else NEW)


def delete_qdisc(index: int) -> Message:
    """Give an interface back its usual queue. One that has no other is ENOENT."""
    return _root(index).message(_RTM_DELQDISC)


def _root(index: int) -> Encoder:
    return Encoder(_TCMSG.pack(0, index, 0, _TC_H_ROOT, 0))


def _parameters(rate: int, burst: int, latency_us: int) -> bytes:
    """A struct tc_tbf_qopt: `limit` is how many bytes may wait, the burst included; `buffer` the burst as a time."""
    limit = min(rate * latency_us // _US_PER_S + burst, _U32_MOST)
    ticks = min(burst * _US_PER_S * 1000 // rate // _NS_PER_TICK, _U32_MOST)
    speed = _RATE.pack(0, _LINKLAYER_ETHERNET, 0, -1, 0, min(rate, _U32_MOST))
    return _QOPT.pack(speed, bytes(_RATE.size), limit, max(ticks, 1), 0)

//! Memory that the kernel needs for sockets and for the data in them.

use super::figures::{bytes, count};
use super::{Check, Fix, Level, Needs, Readings, unreadable};

/// What an idle TCP socket takes in the kernel: measured at two million sockets on Linux 6.18, which took 10.4 GB.
pub const SOCKET_BYTES: u64 = 5200;

/// Above this share of what is available, in percent, the rest of the machine suffers.
pub const COMFORTABLE_PERCENT: u64 = 80;

/// What TCP buffers are advised to take at most of the memory that is available, in percent.
const TCP_MEM_PERCENT: u64 = 50;

/// The high mark of `tcp_mem` above the pressure mark, as the kernel itself sets them: 3 to 2.
const HIGH_PER_PRESSURE: (u64, u64) = (3, 2);

pub(super) fn sockets(needs: &Needs, readings: &Readings) -> Check {
    const NAME: &str = "socket memory";
    let need = needs.sockets().saturating_mul(SOCKET_BYTES);
    let Some(available) = readings.memory_available_bytes else {
        return unreadable(NAME, bytes(need), "/proc/meminfo");
    };
    let comfortable = available / 100 * COMFORTABLE_PERCENT;
    let level = match need {
        need if need > available => Level::Fail,
        need if need > comfortable => Level::Warn,
        _ => Level::Ok,
    };
    let per_connection = SOCKET_BYTES * needs.ends();
    Check {
        name: NAME,
        level,
        is: format!("{} available", bytes(available)),
        need: bytes(need),
        why: format!("An idle connection takes about {} inside the kernel here.", bytes(per_connection)),
        fix: (level != Level::Ok).then(|| {
            Fix::advice(format!(
                "at most {} connections fit with room to spare",
                count(comfortable / per_connection)
            ))
        }),
    }
}

/// Idle connections hold no buffers. When all have data under way at once, each end may hold a page.
pub(super) fn tcp_mem(needs: &Needs, readings: &Readings) -> Check {
    const NAME: &str = "tcp_mem";
    let sockets = needs.sockets();
    let (Some([_, pressure, _]), Some(used)) = (readings.tcp_mem_pages, readings.tcp_mem_used_pages) else {
        return unreadable(NAME, format!("{} pages", count(sockets)), "net.ipv4.tcp_mem");
    };
    let need = sockets.saturating_add(used);
    let enough = pressure >= need;
    Check {
        name: NAME,
        level: if enough { Level::Ok } else { Level::Warn },
        is: format!("{} pages", count(pressure)),
        need: format!("{} pages", count(need)),
        why: "Above this the kernel keeps all TCP buffers small; it is reached when all connections are busy at once."
            .to_owned(),
        fix: (!enough).then(|| raise_tcp_mem(need, readings)),
    }
}

fn raise_tcp_mem(pressure: u64, readings: &Readings) -> Fix {
    let (times, per) = HIGH_PER_PRESSURE;
    let high = (pressure / per).saturating_add(1).saturating_mul(times);
    let affordable = readings.memory_available_bytes.unwrap_or(0) / 100 * TCP_MEM_PERCENT;
    if high.saturating_mul(readings.page_bytes) > affordable {
        return Fix::advice("keep fewer connections busy at once: the memory for all of them is not there");
    }
    Fix::setting("net.ipv4.tcp_mem", &format!("{} {pressure} {high}", pressure / 4 * 3))
}

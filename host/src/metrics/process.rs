//! What the system says about this process, from `/proc`.

use std::time::Duration;

/// Memory, processor time and files of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Bytes in memory.
    pub resident_bytes: u64,
    /// Processor time used.
    pub cpu_time: Duration,
    /// Files, sockets and pipes open.
    pub open_files: u64,
    /// How many may be.
    pub max_open_files: u64,
}

/// User and system time of `/proc/self/stat`: the 14th and 15th field, counted from 1.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the name, may hold blanks and brackets: fields are counted after its end.
    let mut rest = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let ticks = rest.next()?.parse::<u64>().ok()? + rest.next()?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// The state of this process; what the system does not tell is 0.
#[must_use]
pub fn process() -> Process {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident_kib = resident.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Process {
        resident_bytes: resident_kib.unwrap_or(0) * 1024,
        cpu_time: cpu_time().unwrap_or_default(),
        // Reading the list opens one.
        open_files: open_files.saturating_sub(1),
        max_open_files: limit.current.unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_about_this_process() {
        let mut sum = 0u64;
        while cpu_time().is_none_or(|time| time.is_zero()) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let process = process();
        assert!(process.resident_bytes > 1 << 20);
        assert!(process.open_files >= 3 && process.open_files <= process.max_open_files);
    }
}

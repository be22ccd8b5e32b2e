//! What the system knows of this process, under the names that every Prometheus client has for it.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// This process, as `/proc` shows it. What it does not show is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(stat) = read("/proc/self/stat").and_then(|text| Stat::parse(&text)) {
            counter(
                &mut encoder,
                "process_cpu_seconds",
                "Total user and system CPU time spent in seconds",
                stat.cpu,
            )?;
            let help = "Resident memory size in bytes";
            gauge(&mut encoder, "process_resident_memory_bytes", help, stat.resident_bytes)?;
            let help = "Virtual memory size in bytes";
            gauge(&mut encoder, "process_virtual_memory_bytes", help, stat.virtual_bytes)?;
            if let Some(boot) = read("/proc/stat").and_then(|text| boot_time(&text)) {
                let help = "Start time of the process since unix epoch in seconds";
                gauge(&mut encoder, "process_start_time_seconds", help, boot + stat.start)?;
            }
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            // The folder itself is open while it is read.
            let count = files.count().saturating_sub(1);
            gauge(&mut encoder, "process_open_fds", "Number of open file descriptors", count)?;
        }
        if let Some(limit) = read("/proc/self/limits").and_then(|text| file_limit(&text)) {
            gauge(&mut encoder, "process_max_fds", "Maximum number of open file descriptors", limit)?;
        }
        Ok(())
    }
}

/// What of `/proc/self/stat` is told.
#[derive(Debug, PartialEq)]
struct Stat {
    /// The time that was spent, in seconds.
    cpu: f64,
    /// When the process started, in seconds since the system did.
    start: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program stands in parentheses, and may have more of them, and spaces.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let ticks = rustix::param::clock_ticks_per_second();
        Some(Self {
            cpu: seconds(number(11)? + number(12)?, ticks),
            start: seconds(number(19)?, ticks),
            virtual_bytes: number(20)?,
            resident_bytes: number(21)? * rustix::param::page_size() as u64,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "no process runs for so long that it would matter")]
fn seconds(count: u64, per_second: u64) -> f64 {
    count as f64 / per_second.max(1) as f64
}

fn boot_time(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn file_limit(text: &str) -> Option<u64> {
    let limits = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    limits.split_ascii_whitespace().next()?.parse().ok()
}

/// Returns a file of `/proc`; nothing where there is none, or it cannot be read.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: impl EncodeGaugeValue + Copy,
) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: impl EncodeCounterValue + Copy + prometheus_client::encoding::EncodeExemplarValue,
) -> fmt::Result {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_programs_may_look_like_anything() {
        let text =
            "7 (a) R 1 (b)) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 1000 4096 2 18446744073709551615\n";
        let stat = Stat::parse(text).expect("a line of stat");
        assert_eq!((stat.virtual_bytes, stat.resident_bytes), (4096, 2 * rustix::param::page_size() as u64));
        let ticks = seconds(1, rustix::param::clock_ticks_per_second());
        assert!((stat.cpu - 200.0 * ticks).abs() < 1e-9 && (stat.start - 1000.0 * ticks).abs() < 1e-9);
        assert_eq!(Stat::parse("7 (a) R 1"), None);
    }

    #[test]
    fn limits_and_boot_times_are_found() {
        assert_eq!(
            file_limit("Max open files            1024                 4096                 files\n"),
            Some(1024)
        );
        assert_eq!(
            file_limit("Max open files            unlimited            unlimited            files\n"),
            None
        );
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }
}

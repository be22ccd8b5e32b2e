//! The forms in which metrics are written down.

use std::fmt::Write as _;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// A form in which metrics are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text of Prometheus 0.0.4, which every scraper reads.
    Text,
}

impl Exposition {
    /// Returns the form that a scraper takes, by its header `Accept`.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let is_wanted = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let is_refused = parts.any(|part| {
                let weight = part.strip_prefix("q=").map(str::parse::<f32>);
                matches!(weight, Some(Ok(weight)) if weight <= 0.0)
            });
            kind.eq_ignore_ascii_case("application/openmetrics-text") && !is_refused
        };
        if accept.split(',').any(is_wanted) { Self::OpenMetrics } else { Self::Text }
    }

    /// Returns its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes metrics down.
    pub(super) fn write(self, registry: &Registry) -> String {
        let mut open_metrics = String::new();
        text::encode(&mut open_metrics, registry).expect("writing to a string does not fail");
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => plain(&open_metrics),
        }
    }
}

/// Returns OpenMetrics as the older text: counters are named with `_total` in their descriptions, too, whole limits of
/// buckets are whole numbers, and there is neither a unit nor an end.
fn plain(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        if let Some(description) = line.strip_prefix("# HELP ") {
            // Its name depends on the type, which comes next.
            help = description.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, text)) = help.take().filter(|(described, _)| *described == name) {
                writeln!(out, "# HELP {name}{suffix} {text}").expect("writing to a string does not fail");
            }
            writeln!(out, "# TYPE {name}{suffix} {kind}").expect("writing to a string does not fail");
        } else {
            match line.split_once("le=\"") {
                Some((before, after))
                    if before.split('{').next().is_some_and(|name| name.ends_with("_bucket")) =>
                {
                    let (limit, rest) = after.split_once('"').unwrap_or((after, ""));
                    let limit = limit.strip_suffix(".0").unwrap_or(limit);
                    writeln!(out, "{before}le=\"{limit}\"{rest}").expect("writing to a string does not fail");
                }
                _ => {
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_are_for_those_who_ask() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Exposition::accepted(prometheus), Exposition::OpenMetrics);
        for accept in ["", "*/*", "text/plain", "application/openmetrics-text;q=0, text/plain"] {
            assert_eq!(Exposition::accepted(accept), Exposition::Text, "{accept}");
        }
    }

    #[test]
    fn the_older_text_names_counters_and_limits_as_it_always_did() {
        let open_metrics = "# HELP a Things.\n# TYPE a counter\na_total{x=\"# EOF\"} 1\n\
            # HELP b_seconds Time.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\n\
            b_seconds_bucket{le=\"0.5\"} 1\nb_seconds_bucket{le=\"1.0\"} 1\nb_seconds_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"# EOF\"} 1\n\
            # HELP b_seconds Time.\n# TYPE b_seconds histogram\n\
            b_seconds_bucket{le=\"0.5\"} 1\nb_seconds_bucket{le=\"1\"} 1\nb_seconds_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(plain(open_metrics), text);
    }
}

//! The page and its plots, of the data of all parts.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use plotters::prelude::*;

use super::{Page, Plot, Unit};
use crate::Result;

/// Writes `docs/performance.md` and the pictures beside it, of the data of all parts.
pub fn draw(parts: &[&str]) -> Result<()> {
    fs::create_dir_all(PICTURES)?;
    let mut text = String::from(HEAD);
    let mut about = None;
    for part in parts {
        let Some(page) = Page::read(part)? else {
            write!(text, "\nThe part `{part}` was not measured yet.\n")?;
            continue;
        };
        // What all parts have in common is told once.
        let measured = describe(&page);
        if about.as_ref() != Some(&measured) {
            write!(text, "\n{measured}")?;
            about = Some(measured);
        }
        for section in &page.sections {
            write!(text, "\n## {}\n\n{}\n", section.title, section.about)?;
            for plot in &section.plots {
                let path = format!("{PICTURES}/{}.svg", plot.name);
                picture(plot, Path::new(&path)).map_err(|error| format!("{path}: {error}"))?;
                write!(text, "\n![{}](performance/{}.svg)\n", plot.title, plot.name)?;
            }
            text.push('\n');
            for line in &section.lines {
                writeln!(text, "{line}")?;
            }
        }
    }
    Ok(fs::write(PAGE, text)?)
}

/// Returns with what a part was measured.
fn describe(page: &Page) -> String {
    let mut text = format!("What follows was measured on {}, on {}:\n\n", page.measured, page.machine);
    for (name, version) in &page.programs {
        // Strings take all there is.
        let _ = writeln!(text, "- {name}: {version}");
    }
    text
}

fn picture(plot: &Plot, path: &Path) -> Result<()> {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (least, most) = points()
            .map(of)
            .fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
        least / MARGIN..most * MARGIN
    };
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    // Readable on light and on dark pages.
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(&plot.title, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(range(|point| point.0).log_scale(), range(|point| point.1).log_scale())?;
    let unit = plot.cost;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc(&plot.size)
        .y_desc(unit.name())
        .x_label_formatter(&|size| count(*size))
        .y_label_formatter(&|cost| unit.show(*cost))
        .label_style(("sans-serif", 13))
        .draw()?;
    for (line, colour) in plot.lines.iter().zip(COLOURS.iter().cycle()) {
        let style = ShapeStyle { color: colour.to_rgba(), filled: true, stroke_width: 2 };
        let points = line.points.iter().copied();
        chart
            .draw_series(LineSeries::new(points.clone(), style))?
            .label(&line.program)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        chart.draw_series(points.map(|point| Circle::new(point, 3, style)))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(area.present()?)
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "memory",
            Self::Seconds => "time",
        }
    }

    fn show(self, cost: f64) -> String {
        match self {
            Self::Bytes => format!("{} MiB", count(cost / f64::from(1 << 20))),
            Self::Seconds if cost < 1.0 => format!("{} ms", count(cost * 1e3)),
            Self::Seconds => format!("{} s", count(cost)),
        }
    }
}

/// Returns a number as short as an axis wants it.
fn count(number: f64) -> String {
    if number >= 1.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

const PAGE: &str = "docs/performance.md";
const PICTURES: &str = "docs/performance";
const SIZE: (u32, u32) = (760, 420);
/// What is left free around the outermost points, as a factor.
const MARGIN: f64 = 1.4;
/// Told apart also by who does not see all colours; ours is the first.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 90, 181), RGBColor(220, 50, 32), RGBColor(90, 90, 90), RGBColor(230, 159, 0)];

const HEAD: &str = "# Performance

`benches/run.sh` measures Selkie beside the programs that it replaces, on the machine that it runs on, and writes this page
and its plots of what it measured; `benches/run.sh --draw` draws them again without measuring, and with the name of a part that
part alone is measured again. All that is known of the runs is in `benches/data`. Programs have the same documents, keys and rules,
and take turns where it says so. Times are of whole processes, from start to end, unless it says otherwise; memory is the most that
a process had at any time, and no less than the bench had as it started it. Plots have logarithmic axes: a straight line is a cost
that grows with a power of the size, and one as steep as the diagonal is a cost that grows in proportion.
";

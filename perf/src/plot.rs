//! Rows as pictures: a line per system over `n` where there are several, bars where there is one.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, anyhow};
use plotters::{coord::Shift, prelude::*};

use crate::row::Row;

const SIZE: (u32, u32) = (900, 560);
/// What the names of the lines take of the width.
const LEGEND: u32 = 170;
/// The first eight are told apart by people who see colours differently (Okabe and Ito, "Color Universal Design").
const COLOURS: [RGBColor; 14] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(150, 150, 150),
    RGBColor(120, 60, 20),
    RGBColor(110, 0, 150),
    RGBColor(160, 190, 0),
    RGBColor(255, 110, 120),
    RGBColor(0, 70, 60),
    RGBColor(190, 170, 120),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws one file per suite, case and metric into `directory`.
pub(crate) fn draw(rows: &[Row], directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("making {} failed", directory.display()))?;
    let mut figures: BTreeMap<(&str, &str, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.median.is_some()) {
        figures.entry((row.suite, &row.case, row.metric)).or_default().push(row);
    }
    for ((suite, case, metric), rows) in figures {
        let name = format!("{suite}-{case}-{metric}.svg").replace(['=', ',', ' ', '/'], "-");
        let path = directory.join(name.replace("--", "-"));
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        let title = format!("{suite} {case}: {metric} [{}]", rows[0].unit);
        let several = rows.iter().any(|row| row.n != rows[0].n);
        let drawn = if several { lines(&area, &title, &rows) } else { bars(&area, &title, &rows) };
        drawn.and_then(|()| Ok(area.present()?)).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn systems<'a>(rows: &[&'a Row]) -> Vec<&'a str> {
    let mut systems = Vec::new();
    for row in rows {
        if !systems.contains(&row.system) {
            systems.push(row.system);
        }
    }
    systems
}

/// The figures' range, a little wider; from a positive number on, for a logarithmic axis.
fn range(rows: &[&Row]) -> (f64, f64) {
    let low = rows.iter().filter_map(|row| row.min).fold(f64::INFINITY, f64::min);
    let high = rows.iter().filter_map(|row| row.max).fold(0.0, f64::max);
    (low.max(0.001) / 1.2, high.max(0.002) * 1.2)
}

fn lines(area: &Area<'_>, title: &str, rows: &[&Row]) -> anyhow::Result<()> {
    area.fill(&WHITE)?;
    let ns = rows.iter().map(|row| row.n.max(1) as f64);
    let (first, last) = ns.fold((f64::INFINITY, 1.0_f64), |(low, high), n| (low.min(n), high.max(n)));
    let (low, high) = range(rows);
    let (drawing, legend) = area.split_horizontally(SIZE.0 - LEGEND);
    let mut chart = ChartBuilder::on(&drawing)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((first / 1.1..last * 1.1).log_scale(), (low..high).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("n")
        .y_desc(rows[0].unit)
        .x_label_formatter(&|n| format!("{n:.0}"))
        .y_label_formatter(&|value| crate::suite::readable(*value))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, system) in systems(rows).into_iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        // Our own lines are the thick ones.
        let style = colour.stroke_width(if system.starts_with("fugue") { 3 } else { 1 });
        let mut of_system: Vec<&&Row> = rows.iter().filter(|row| row.system == system).collect();
        of_system.sort_by_key(|row| row.n);
        let at = |row: &Row| (row.n.max(1) as f64, row.median.unwrap_or(low));
        chart.draw_series(LineSeries::new(of_system.iter().map(|row| at(row)), style))?;
        let y = 60 + 22 * i32::try_from(index)?;
        legend.draw(&PathElement::new([(0, y), (22, y)], style))?;
        legend.draw(&Text::new(system, (28, y - 7), ("sans-serif", 14)))?;
        chart.draw_series(of_system.iter().map(|row| {
            let (x, middle) = at(row);
            let (min, max) = (row.min.unwrap_or(middle).max(low), row.max.unwrap_or(middle));
            ErrorBar::new_vertical(x, min, middle, max, colour.filled(), 6)
        }))?;
    }
    Ok(())
}

fn bars(area: &Area<'_>, title: &str, rows: &[&Row]) -> anyhow::Result<()> {
    area.fill(&WHITE)?;
    let (_, high) = range(rows);
    let names = systems(rows);
    let count = names.len();
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(150)
        .build_cartesian_2d(0.0..high, (0..count).into_segmented())?;
    let name_of = |place: &SegmentValue<usize>| match place {
        SegmentValue::CenterOf(index) => names.get(*index).copied().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(count)
        .y_label_formatter(&name_of)
        .x_desc(rows[0].unit)
        .x_label_formatter(&|value| crate::suite::readable(*value))
        .draw()?;
    for (index, row) in rows.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let (median, min, max) = (row.median.unwrap_or(0.0), row.min.unwrap_or(0.0), row.max.unwrap_or(0.0));
        let (top, bottom) = (SegmentValue::Exact(index), SegmentValue::Exact(index + 1));
        let mut bar = Rectangle::new([(0.0, top), (median, bottom)], colour.mix(0.7).filled());
        bar.set_margin(6, 6, 0, 0);
        chart.draw_series([bar])?;
        let middle = SegmentValue::CenterOf(index);
        chart
            .draw_series([PathElement::new([(min, middle.clone()), (max, middle)], BLACK.stroke_width(2))])?;
    }
    Ok(())
}

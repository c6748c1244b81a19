//! The picture of `make bench-bargein`: how soon the agent is silent, against how often for nothing.

use plotters::prelude::*;
use std::path::Path;

/// One detector over its thresholds, or a single point: false acts a minute, and the latency's p95 in ms.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f32, f32)>,
}

const COLOURS: [RGBColor; 7] = [
    RGBColor(58, 110, 165),
    RGBColor(196, 61, 48),
    RGBColor(34, 128, 84),
    RGBColor(124, 77, 160),
    RGBColor(200, 130, 20),
    RGBColor(90, 90, 90),
    RGBColor(20, 150, 160),
];

pub fn draw(path: &Path, title: &str, curves: &[Curve]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, (960, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let font = "Helvetica, Arial, sans-serif";
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (font, 18))
        .margin(16)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d((0.005f32..60.0f32).log_scale(), 0.0f32..1_500.0f32)?;
    chart
        .configure_mesh()
        .x_desc("false, a minute of agent speech")
        .y_desc("onset to act, p95, ms")
        .label_style((font, 13))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(226, 230, 236))
        .draw()?;
    for (n, curve) in curves.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let points: Vec<(f32, f32)> = curve
            .points
            .iter()
            .filter(|p| p.1.is_finite())
            .map(|p| (p.0.clamp(0.005, 60.0), p.1.min(1_500.0)))
            .collect();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(&curve.name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled()));
        chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperMiddle)
        .background_style(WHITE)
        .border_style(RGBColor(226, 230, 236))
        .label_font((font, 13))
        .draw()?;
    root.present()?;
    Ok(())
}

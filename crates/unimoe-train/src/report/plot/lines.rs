//! Lines over steps or layers.

use std::ops::Range;

use plotters::{
    chart::ChartBuilder,
    prelude::{Circle, Color, EmptyElement, LineSeries, PathElement, RGBColor, Text},
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{Figure, INK, canvas, number, text, tick};
use crate::report::error::ReportError;

const SIZE: (u32, u32) = (640, 320);

/// Numbers beyond this can't be drawn: a loss of this size is no loss.
const LARGEST: f64 = 1e30;

/// Lines in one set of axes.
#[derive(Debug, Clone, Default)]
pub(in crate::report) struct LinePlot {
    pub title: String,
    pub caption: String,
    /// Name and unit of the horizontal axis.
    pub x: String,
    /// Name and unit of the vertical axis.
    pub y: String,
    /// Whether the vertical axis counts powers; what isn't positive is left out then.
    pub logarithmic: bool,
    /// The least that the vertical axis shows, whatever the values.
    pub show: Option<(f64, f64)>,
    pub series: Vec<Series>,
    /// Places on the horizontal axis with a name.
    pub marks: Vec<(f64, String)>,
}

/// One line.
#[derive(Debug, Clone)]
pub(in crate::report) struct Series {
    pub name: String,
    pub color: RGBColor,
    pub stroke: Stroke,
    /// A point that isn't finite leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Stroke {
    /// Full.
    Line,
    /// Thin and pale, not in the legend: single values behind their mean.
    Faint,
    /// Full, with a dot at each point.
    Dotted,
}

/// Points without a gap.
type Piece = Vec<(f64, f64)>;

impl LinePlot {
    /// Draws the plot; `None` where there is no point to draw.
    ///
    /// # Errors
    ///
    /// [`ReportError::Plot`] where the library for plots fails.
    pub fn draw(&self) -> Result<Option<Figure>, ReportError> {
        let lines: Vec<(&Series, Vec<Piece>)> = self
            .series
            .iter()
            .map(|series| (series, self.pieces(&series.points)))
            .collect();
        let points = || lines.iter().flat_map(|(_, pieces)| pieces).flatten();
        let Some(x) = range(points().map(|point| point.0)) else {
            return Ok(None);
        };
        let shown = self.show.into_iter().flat_map(|(low, high)| [low, high]);
        let Some(y) = range(points().map(|point| point.1).chain(shown)) else {
            return Ok(None);
        };
        let svg = canvas(&self.title, SIZE, |root| {
            let mut chart = ChartBuilder::on(root)
                .margin(8)
                .margin_right(24)
                .x_label_area_size(42)
                .y_label_area_size(66)
                .build_cartesian_2d(x.clone(), widened(&y))?;
            let power = |value: &f64| number(10f64.powf(*value));
            let plain = |value: &f64| tick(*value, (y.end - y.start) / 8.0);
            // Steps, layers and channels are whole.
            let whole = |value: &f64| match (value - value.round()).abs() < 1e-6 {
                true => tick(value.round(), 1.0),
                false => String::new(),
            };
            let format: &dyn Fn(&f64) -> String = if self.logarithmic { &power } else { &plain };
            chart
                .configure_mesh()
                .x_desc(self.x.as_str())
                .y_desc(self.y.as_str())
                .x_labels((x.end - x.start + 1.0).min(9.0) as usize)
                .y_labels(7)
                .x_label_formatter(&whole)
                .y_label_formatter(format)
                .label_style(text(&INK))
                .axis_desc_style(text(&INK))
                .axis_style(INK.mix(0.6))
                .bold_line_style(INK.mix(0.14))
                .light_line_style(INK.mix(0.0))
                .draw()?;
            let (low, high) = (widened(&y).start, widened(&y).end);
            for (place, name) in &self.marks {
                if !x.contains(place) {
                    continue;
                }
                let line = vec![(*place, low), (*place, high)];
                chart.draw_series([PathElement::new(line, INK.mix(0.45))])?;
                let style = text(&INK).pos(Pos::new(HPos::Left, VPos::Top));
                chart.draw_series([
                    EmptyElement::at((*place, high)) + Text::new(name.clone(), (4, 2), style)
                ])?;
            }
            // Pale lines first, so that none hides a mean.
            let order = |(series, _): &&(&Series, _)| series.stroke != Stroke::Faint;
            let mut sorted: Vec<_> = lines.iter().collect();
            sorted.sort_by_key(order);
            for (series, pieces) in sorted {
                let style = match series.stroke {
                    Stroke::Faint => series.color.mix(0.3).stroke_width(1),
                    Stroke::Line | Stroke::Dotted => series.color.stroke_width(2),
                };
                for piece in pieces {
                    if piece.len() > 1 {
                        chart.draw_series(LineSeries::new(piece.iter().copied(), style))?;
                    }
                    if piece.len() == 1 || series.stroke == Stroke::Dotted {
                        let dots = piece.iter();
                        let radius = if series.stroke == Stroke::Faint { 1 } else { 3 };
                        chart.draw_series(
                            dots.map(|&point| Circle::new(point, radius, style.filled())),
                        )?;
                    }
                }
            }
            Ok(())
        })?;
        let named = self
            .series
            .iter()
            .filter(|series| series.stroke != Stroke::Faint);
        Ok(Some(Figure {
            title: self.title.clone(),
            caption: self.caption.clone(),
            svg,
            legend: named
                .map(|series| (series.color, series.name.clone()))
                .collect(),
        }))
    }

    /// The line in pieces without gaps, on the scale of the axes.
    fn pieces(&self, points: &[(f64, f64)]) -> Vec<Piece> {
        let scaled = points.iter().map(|&(x, y)| match self.logarithmic {
            true if y > 0.0 => (x, y.log10()),
            true => (x, f64::NAN),
            false => (x, y),
        });
        let scaled: Vec<_> = scaled.collect();
        let drawable = |value: f64| value.is_finite() && value.abs() <= LARGEST;
        scaled
            .split(|&(x, y)| !drawable(x) || !drawable(y))
            .filter(|piece| !piece.is_empty())
            .map(<[_]>::to_vec)
            .collect()
    }
}

/// From the least to the largest value, never empty; `None` without values.
fn range(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        low = low.min(value);
        high = high.max(value);
    }
    if low > high {
        return None;
    }
    // Ticks can't be told apart on a range that is narrower than their own rounding.
    let size = low.abs().max(high.abs());
    if high - low <= size * 1e-6 {
        let half = if size > 0.0 { size * 0.1 } else { 0.5 };
        return Some(low - half..high + half);
    }
    Some(low..high)
}

/// A range with some room above and below.
fn widened(range: &Range<f64>) -> Range<f64> {
    let room = (range.end - range.start) * 0.05;
    range.start - room..range.end + room
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::color;

    fn plot(points: Vec<(f64, f64)>) -> LinePlot {
        LinePlot {
            title: "t".to_string(),
            series: vec![Series {
                name: "s".to_string(),
                color: color(0),
                stroke: Stroke::Line,
                points,
            }],
            ..LinePlot::default()
        }
    }

    fn drawn(plot: &LinePlot) -> String {
        plot.draw().expect("draws").expect("something to draw").svg
    }

    #[test]
    fn a_line_is_a_polyline_in_its_colour_and_a_point_a_dot() {
        let svg = drawn(&plot(vec![(1.0, 2.0), (2.0, 3.0)]));
        assert!(svg.contains("<polyline") && svg.contains("#4C78A8"));
        assert!(svg.contains("currentColor") && !svg.contains("#010203"));
        let svg = drawn(&plot(vec![(1.0, 2.0)]));
        assert!(svg.contains("<circle"));
    }

    #[test]
    fn values_that_are_no_numbers_leave_gaps() {
        let points = [1.0, 2.0, f64::NAN, 3.0, 4.0, f64::INFINITY, 1e300];
        let points = points.iter().enumerate();
        let points: Vec<_> = points.map(|(x, &y)| (x as f64, y)).collect();
        let pieces = plot(Vec::new()).pieces(&points);
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn without_a_point_there_is_no_plot() {
        for points in [vec![], vec![(f64::NAN, 1.0)], vec![(1.0, f64::NAN)]] {
            assert!(plot(points).draw().expect("draws").is_none());
        }
        let mut logarithmic = plot(vec![(0.0, 0.0), (1.0, -3.0)]);
        logarithmic.logarithmic = true;
        assert!(logarithmic.draw().expect("draws").is_none());
    }

    #[test]
    fn extreme_ranges_are_drawn_in_no_time() {
        let tiny = f64::MIN_POSITIVE;
        for ys in [
            [0.0, 0.0],
            [1e30, -1e30],
            [1e15, 1e15 + 1.0],
            [1e29, 1e29 * (1.0 + 2e-6)],
            [tiny, 2.0 * tiny],
            [1e-300, -1e-300],
            [0.0, 5e-324],
        ] {
            for x in [1.0, 1e18] {
                drawn(&plot(vec![(0.0, ys[0]), (x, ys[1])]));
                drawn(&plot(vec![(x, ys[0]), (x * (1.0 + 1e-15), ys[1])]));
            }
        }
    }
}

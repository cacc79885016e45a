//! Bars of several things side by side in each category, with whiskers.

use plotters::{
    chart::ChartBuilder,
    prelude::{Color, PathElement, RGBColor, Rectangle, Text},
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{Figure, INK, canvas, number, text};
use crate::report::error::ReportError;

const SIZE: (u32, u32) = (640, 320);

/// Part of a category's width that its bars take.
const FILLED: f64 = 0.8;

/// A bar for each thing in each category.
#[derive(Debug, Clone, Default)]
pub(in crate::report) struct GroupedBars {
    pub title: String,
    pub caption: String,
    /// Name and unit of the values.
    pub y: String,
    /// Name of each category.
    pub categories: Vec<String>,
    /// Name and colour of each thing, and its value and half the whisker's length in each category.
    pub groups: Vec<Group>,
}

/// Name, colour, and a value with its spread in each category.
type Group = (String, RGBColor, Vec<(f64, f64)>);

impl GroupedBars {
    /// Draws the bars from zero; `None` where there is no positive value. Values that aren't positive are left out.
    ///
    /// # Errors
    ///
    /// [`ReportError::Plot`] where the library for plots fails.
    pub fn draw(&self) -> Result<Option<Figure>, ReportError> {
        let n = self.categories.len();
        let drawable = |(value, spread): &(f64, f64)| {
            let end = value + spread.abs();
            *value > 0.0 && end.is_finite() && end <= 1e30
        };
        let bars = self
            .groups
            .iter()
            .flat_map(|(_, _, bars)| bars.iter().take(n));
        let highest = bars
            .filter(|bar| drawable(bar))
            .map(|(value, spread)| value + spread.abs())
            .fold(0.0, f64::max);
        if highest <= 0.0 {
            return Ok(None);
        }
        // Room for the names of the categories.
        let top = highest * 1.12;
        let svg = canvas(&self.title, SIZE, |root| {
            let mut chart = ChartBuilder::on(root)
                .margin(8)
                .x_label_area_size(12)
                .y_label_area_size(66)
                .build_cartesian_2d(0.0..n as f64, 0.0..top)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .x_labels(0)
                .y_desc(self.y.as_str())
                .y_labels(7)
                .y_label_formatter(&|value| number(*value))
                .label_style(text(&INK))
                .axis_desc_style(text(&INK))
                .axis_style(INK.mix(0.6))
                .bold_line_style(INK.mix(0.14))
                .light_line_style(INK.mix(0.0))
                .draw()?;
            let width = FILLED / self.groups.len().max(1) as f64;
            for (place, (_, color, bars)) in self.groups.iter().enumerate() {
                for (category, bar) in bars.iter().take(n).enumerate() {
                    if !drawable(bar) {
                        continue;
                    }
                    let (value, spread) = (bar.0, bar.1.abs());
                    let left = category as f64 + (1.0 - FILLED) / 2.0 + place as f64 * width;
                    let corners = [(left, 0.0), (left + width * 0.92, value)];
                    chart.draw_series([Rectangle::new(corners, color.filled())])?;
                    if spread > 0.0 {
                        let middle = left + width * 0.46;
                        let ends = [
                            (middle, (value - spread).max(0.0)),
                            (middle, value + spread),
                        ];
                        let style = INK.stroke_width(2);
                        chart.draw_series([PathElement::new(ends.to_vec(), style)])?;
                    }
                }
            }
            let style = text(&INK).pos(Pos::new(HPos::Center, VPos::Top));
            for (category, name) in self.categories.iter().enumerate() {
                let place = (category as f64 + 0.5, top);
                chart.draw_series([Text::new(name.clone(), place, style.clone())])?;
            }
            Ok(())
        })?;
        Ok(Some(Figure {
            title: self.title.clone(),
            caption: self.caption.clone(),
            svg,
            legend: (self.groups.iter())
                .map(|(name, color, _)| (*color, name.clone()))
                .collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::color;

    fn bars(values: &[(f64, f64)]) -> GroupedBars {
        GroupedBars {
            categories: (0..values.len()).map(|index| index.to_string()).collect(),
            groups: vec![("a".to_string(), color(0), values.to_vec())],
            ..GroupedBars::default()
        }
    }

    #[test]
    fn each_positive_value_is_a_bar_and_a_spread_a_whisker() {
        let values = [(1.0, 0.5), (2.0, 0.0), (f64::NAN, 1.0), (-1.0, 0.0)];
        let svg = bars(&values).draw().expect("draws").expect("bars").svg;
        assert_eq!(svg.matches("<rect").count(), 2);
        let plain = bars(&[(1.0, 0.0), (2.0, 0.0)]).draw().expect("draws");
        let plain = plain.expect("bars").svg.matches("<polyline").count();
        assert_eq!(svg.matches("<polyline").count(), plain + 1);
    }

    #[test]
    fn without_a_positive_value_there_is_no_plot() {
        for values in [vec![], vec![(f64::NAN, 0.0)], vec![(0.0, 1.0)]] {
            assert!(bars(&values).draw().expect("draws").is_none());
        }
    }
}

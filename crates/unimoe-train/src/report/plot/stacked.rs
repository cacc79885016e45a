//! Bars of shares that lie one on another.

use plotters::{
    chart::ChartBuilder,
    coord::ranged1d::{IntoSegmentedCoord, SegmentValue},
    prelude::{Color, RGBColor, Rectangle},
};

use super::{Figure, INK, canvas, number, text};
use crate::report::error::ReportError;

const SIZE: (u32, u32) = (640, 320);

/// One bar for each category, from 0 to 100 %, in parts.
#[derive(Debug, Clone, Default)]
pub(in crate::report) struct StackedBars {
    pub title: String,
    pub caption: String,
    /// Name of the categories.
    pub x: String,
    /// Name of the shares.
    pub y: String,
    /// Name of each category.
    pub categories: Vec<String>,
    /// Name and colour of each part, lowest first.
    pub parts: Vec<(String, RGBColor)>,
    /// Share of each part in each category, `[category][part]`.
    pub shares: Vec<Vec<f64>>,
}

impl StackedBars {
    /// Draws the bars; `None` where there is nothing to draw.
    ///
    /// # Errors
    ///
    /// [`ReportError::Plot`] where the library for plots fails.
    pub fn draw(&self) -> Result<Option<Figure>, ReportError> {
        let n = self.categories.len().min(self.shares.len());
        let positive = |share: &f64| share.is_finite() && *share > 0.0;
        if n == 0 || !self.shares.iter().flatten().any(positive) {
            return Ok(None);
        }
        let svg = canvas(&self.title, SIZE, |root| {
            let mut chart = ChartBuilder::on(root)
                .margin(8)
                .x_label_area_size(42)
                .y_label_area_size(66)
                // One segment alone has no width in the library; the second stays empty.
                .build_cartesian_2d((0..(n - 1).max(1)).into_segmented(), 0.0..100.0)?;
            let name = |value: &SegmentValue<usize>| match value {
                SegmentValue::CenterOf(index) => {
                    self.categories.get(*index).cloned().unwrap_or_default()
                }
                _ => String::new(),
            };
            chart
                .configure_mesh()
                .disable_x_mesh()
                .x_desc(self.x.as_str())
                .y_desc(self.y.as_str())
                .x_labels(n.min(16))
                .y_labels(6)
                .x_label_formatter(&name)
                .y_label_formatter(&|value| number(*value))
                .label_style(text(&INK))
                .axis_desc_style(text(&INK))
                .axis_style(INK.mix(0.6))
                .bold_line_style(INK.mix(0.14))
                .light_line_style(INK.mix(0.0))
                .draw()?;
            let gap = (160 / n as i32).clamp(0, 8) as u32;
            for (category, shares) in self.shares.iter().take(n).enumerate() {
                let mut below = 0.0;
                for ((_, color), share) in self.parts.iter().zip(shares) {
                    if !positive(share) {
                        continue;
                    }
                    let above = (below + share * 100.0).min(100.0);
                    let corners = [
                        (SegmentValue::Exact(category), below),
                        (SegmentValue::Exact(category + 1), above),
                    ];
                    let mut bar = Rectangle::new(corners, color.filled());
                    bar.set_margin(0, 0, gap, gap);
                    chart.draw_series([bar])?;
                    below = above;
                }
            }
            Ok(())
        })?;
        Ok(Some(Figure {
            title: self.title.clone(),
            caption: self.caption.clone(),
            svg,
            legend: self
                .parts
                .iter()
                .map(|(name, color)| (*color, name.clone()))
                .collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::color;

    fn bars(shares: Vec<Vec<f64>>) -> StackedBars {
        StackedBars {
            categories: (0..shares.len()).map(|index| index.to_string()).collect(),
            parts: vec![("a".to_string(), color(0)), ("b".to_string(), color(1))],
            shares,
            ..StackedBars::default()
        }
    }

    #[test]
    fn each_part_that_is_not_empty_is_a_rectangle() {
        let shares = vec![vec![0.25, 0.75], vec![1.0, 0.0], vec![f64::NAN, 2.0]];
        let figure = bars(shares).draw().expect("draws").expect("shares");
        assert_eq!(figure.svg.matches("<rect").count(), 4);
        assert_eq!(figure.legend.len(), 2);
    }

    #[test]
    fn one_category_is_drawn_and_none_is_not() {
        let one = bars(vec![vec![1.0]])
            .draw()
            .expect("draws")
            .expect("a share");
        let width = one.svg.split("<rect").nth(1).expect("a bar");
        let width = width.split("width=\"").nth(1).expect("its width");
        assert!(
            !width.starts_with('0') && !width.starts_with('-'),
            "{width}"
        );
        assert!(bars(vec![]).draw().expect("draws").is_none());
        assert!(bars(vec![vec![0.0]]).draw().expect("draws").is_none());
    }
}

//! Heat maps: a coloured table with its values in the cells.

use plotters::{
    prelude::{Color, RGBColor, Rectangle, Text},
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{Figure, INK, between, canvas, number, ramp, text};
use crate::report::error::ReportError;

/// Least height of a row and width of a column, in pixels.
const ROW: i32 = 24;
const COLUMN: i32 = 46;

/// What the rows fill together where they are few.
const HEIGHT: i32 = 200;

/// Most rows and columns: more are no picture, and a log may claim any number.
const MOST: usize = 160;

/// A table of values.
#[derive(Debug, Clone)]
pub(in crate::report) struct HeatMap {
    pub title: String,
    pub caption: String,
    /// What the columns are.
    pub x: String,
    /// What the rows are.
    pub y: String,
    pub columns: Vec<String>,
    pub rows: Vec<String>,
    /// Values `[row][column]`; one that is missing or no number is drawn as an empty cell.
    pub values: Vec<Vec<f64>>,
    pub scale: Scale,
}

/// Which colour a value has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) enum Scale {
    /// From 0 to the given share, written as per cent.
    Share(f64),
    /// From -1 (red) over 0 (white) to 1 (blue).
    Cosine,
}

impl HeatMap {
    /// Draws the table; `None` where it is empty or too large for a picture.
    ///
    /// # Errors
    ///
    /// [`ReportError::Plot`] where the library for plots fails.
    pub fn draw(&self) -> Result<Option<Figure>, ReportError> {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        if rows == 0 || columns == 0 || rows > MOST || columns > MOST {
            return Ok(None);
        }
        let widest = |names: &[String]| names.iter().map(|name| width(name)).max().unwrap_or(0);
        let row = (HEIGHT / rows as i32).clamp(ROW, 2 * ROW);
        let left = widest(&self.rows).max(24) + 34;
        let column = COLUMN
            .max(widest(&self.columns) + 10)
            .max(560 / columns as i32)
            .min(150);
        let (top, bottom) = (8, 50);
        let size = (
            left + column * columns as i32 + 12,
            top + row * rows as i32 + bottom,
        );
        let svg = canvas(&self.title, (size.0 as u32, size.1 as u32), |root| {
            let middle = Pos::new(HPos::Center, VPos::Center);
            for (index, name) in self.rows.iter().enumerate() {
                let y = top + row * index as i32;
                let style = text(&INK).pos(Pos::new(HPos::Right, VPos::Center));
                root.draw(&Text::new(name.clone(), (left - 8, y + row / 2), style))?;
                for place in 0..columns {
                    let x = left + column * place as i32;
                    let value = self.values.get(index).and_then(|row| row.get(place));
                    let value = value.copied().filter(|value| value.is_finite());
                    let corners = [(x, y), (x + column - 1, y + row - 1)];
                    let Some(value) = value else {
                        root.draw(&Rectangle::new(corners, INK.mix(0.08).filled()))?;
                        continue;
                    };
                    let color = self.scale.color(value);
                    root.draw(&Rectangle::new(corners, color.filled()))?;
                    let style = text(&readable(color)).pos(middle);
                    let at = (x + column / 2, y + row / 2);
                    root.draw(&Text::new(self.scale.cell(value), at, style))?;
                }
            }
            let below = top + row * rows as i32;
            for (index, name) in self.columns.iter().enumerate() {
                let at = (left + column * index as i32 + column / 2, below + 12);
                root.draw(&Text::new(name.clone(), at, text(&INK).pos(middle)))?;
            }
            let at = (left + column * columns as i32 / 2, below + 36);
            root.draw(&Text::new(self.x.clone(), at, text(&INK).pos(middle)))?;
            let turned = text(&INK)
                .transform(plotters::style::FontTransform::Rotate270)
                .pos(middle);
            let at = (12, top + row * rows as i32 / 2);
            root.draw(&Text::new(self.y.clone(), at, turned))
        })?;
        Ok(Some(Figure {
            title: self.title.clone(),
            caption: self.caption.clone(),
            svg,
            legend: self.scale.legend(),
        }))
    }
}

impl Scale {
    fn color(self, value: f64) -> RGBColor {
        const DIVERGING: [RGBColor; 5] = [
            RGBColor(178, 40, 50),
            RGBColor(240, 160, 130),
            RGBColor(245, 245, 245),
            RGBColor(140, 190, 220),
            RGBColor(35, 100, 170),
        ];
        match self {
            Self::Share(most) => ramp(if most > 0.0 { value / most } else { 0.0 }),
            Self::Cosine => between(&DIVERGING, (value + 1.0) / 2.0),
        }
    }

    fn cell(self, value: f64) -> String {
        match self {
            Self::Share(_) => match value * 100.0 {
                percent if percent > 0.0 && percent < 0.1 => "<0.1".to_string(),
                percent if percent < 10.0 => format!("{percent:.1}"),
                percent => format!("{percent:.0}"),
            },
            Self::Cosine => format!("{value:.2}"),
        }
    }

    fn legend(self) -> Vec<(RGBColor, String)> {
        let values = match self {
            Self::Share(most) => [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| part * most),
            Self::Cosine => [-1.0, -0.5, 0.0, 0.5, 1.0],
        };
        let name = |value: f64| match self {
            Self::Share(_) => super::percent(value),
            Self::Cosine => number(value),
        };
        values
            .map(|value| (self.color(value), name(value)))
            .to_vec()
    }
}

/// Black or white, whichever has the higher contrast on `color` (WCAG 2.1, relative luminance).
fn readable(color: RGBColor) -> RGBColor {
    let linear = |part: u8| match f64::from(part) / 255.0 {
        low if low <= 0.04045 => low / 12.92,
        high => ((high + 0.055) / 1.055).powf(2.4),
    };
    let RGBColor(r, g, b) = color;
    let luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    // Where (L + 0.05) / 0.05 = 1.05 / (L + 0.05).
    if luminance > 0.179 {
        RGBColor(0, 0, 0)
    } else {
        RGBColor(255, 255, 255)
    }
}

/// About how wide a text is, in pixels.
fn width(text: &str) -> i32 {
    // A character of a wide script takes the room of two.
    let units = text.chars().map(|c| if c < '\u{1100}' { 1 } else { 2 });
    units.sum::<i32>() * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: Vec<Vec<f64>>, scale: Scale) -> HeatMap {
        let names = |n: usize| (0..n).map(|index| format!("n{index}")).collect();
        HeatMap {
            title: "t".to_string(),
            caption: String::new(),
            x: "expert".to_string(),
            y: "layer".to_string(),
            columns: names(2),
            rows: names(values.len()),
            values,
            scale,
        }
    }

    #[test]
    fn every_cell_is_drawn_and_only_numbers_are_written() {
        let values = vec![vec![0.5, 0.0], vec![f64::NAN], vec![0.0004, 7.0]];
        let map = map(values, Scale::Share(0.5));
        let svg = map.draw().expect("draws").expect("cells").svg;
        assert_eq!(svg.matches("<rect").count(), 6);
        for text in ["50\n", "0.0\n", "&lt;0.1\n", "700\n"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn opposite_cosines_have_opposite_colours() {
        let (low, high) = (Scale::Cosine.color(-1.0), Scale::Cosine.color(1.0));
        assert!(low.0 > low.2 && high.2 > high.0);
        assert_eq!(readable(Scale::Cosine.color(0.0)), RGBColor(0, 0, 0));
        assert_eq!(readable(low), RGBColor(255, 255, 255));
    }

    #[test]
    fn tables_that_are_no_picture_are_left_out() {
        assert!(map(vec![], Scale::Cosine).draw().expect("draws").is_none());
        let high = map(vec![vec![0.0; 2]; MOST + 1], Scale::Cosine);
        assert!(high.draw().expect("draws").is_none());
    }
}

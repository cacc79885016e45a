//! Plots as inline SVG, drawn with plotters.
//!
//! The background is transparent and the ink is the page's text colour, so that one drawing is read on
//! light and on dark pages. Legends stand outside the drawing, where long names can wrap.

mod grouped;
mod heat;
mod lines;
mod stacked;

use std::{fmt::Display, io};

use maud::html;
use plotters::{
    coord::Shift,
    prelude::{
        Color, DrawingArea, DrawingAreaErrorKind, IntoDrawingArea, IntoFont, RGBColor, SVGBackend,
        TextStyle,
    },
};

use super::error::ReportError;

pub(super) use grouped::GroupedBars;
pub(super) use heat::{HeatMap, Scale};
pub(super) use lines::{LinePlot, Series, Stroke};
pub(super) use stacked::StackedBars;

/// Stands for the page's text colour until the drawing is done.
const INK: RGBColor = RGBColor(1, 2, 3);

/// How [`INK`] is written by the backend.
const INK_TEXT: &str = "\"#010203\"";

/// Size of text, in the backend's points: 13 pixels.
const TEXT: i32 = 16;

/// Colours of equal weight that can be told apart on white and on black.
const COLORS: [RGBColor; 10] = [
    RGBColor(76, 120, 168),
    RGBColor(245, 133, 24),
    RGBColor(84, 162, 75),
    RGBColor(228, 87, 86),
    RGBColor(114, 183, 178),
    RGBColor(178, 121, 162),
    RGBColor(157, 117, 93),
    RGBColor(214, 178, 40),
    RGBColor(255, 157, 166),
    RGBColor(140, 140, 150),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A drawing with what is to be read beside it.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub title: String,
    pub caption: String,
    pub svg: String,
    pub legend: Vec<(RGBColor, String)>,
}

/// The colour of the `index`-th of several things.
pub(super) fn color(index: usize) -> RGBColor {
    COLORS[index % COLORS.len()]
}

/// The colour at `position` in `[0, 1]` of a scale from dark to light.
pub(super) fn ramp(position: f64) -> RGBColor {
    const STOPS: [RGBColor; 5] = [
        RGBColor(68, 28, 96),
        RGBColor(59, 88, 142),
        RGBColor(33, 146, 142),
        RGBColor(104, 201, 96),
        RGBColor(249, 228, 60),
    ];
    between(&STOPS, position)
}

/// A number as text: three digits that count.
pub(super) fn number(value: f64) -> String {
    rounded(value, 3)
}

/// A loss as text: five digits, as losses that are compared lie close together.
pub(super) fn loss(value: f64) -> String {
    rounded(value, 5)
}

/// The label of a tick, with as many digits as tell it from its neighbours, `step` away.
fn tick(value: f64, step: f64) -> String {
    if value.abs() < step * 1e-6 {
        return "0".to_string();
    }
    let large = !(1e-4..1e7).contains(&value.abs());
    if large || !step.is_finite() || step <= 0.0 {
        return number(value);
    }
    // One digit more than the step's own size, as a step may be 2.5.
    let digits = (1 - step.log10().floor() as i32).clamp(0, 9) as usize;
    trimmed(&format!("{value:.digits$}"))
}

fn rounded(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return "n/a".to_string();
    }
    let size = value.abs();
    if size == 0.0 {
        return "0".to_string();
    }
    if !(1e-3..1e6).contains(&size) {
        return trimmed(&format!("{value:.2e}"));
    }
    let digits = (digits - 1 - size.log10().floor() as i32).clamp(0, 9) as usize;
    trimmed(&format!("{value:.digits$}"))
}

/// A whole number with thin groups of three: `1 234 567`.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A share as per cent.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{} %", number(share * 100.0))
    } else {
        number(share)
    }
}

/// A name that somebody gave, fit to be shown: without control characters, and not too long.
pub(super) fn label(name: &str) -> String {
    shown(name, 48)
}

/// What a program said, fit to be shown.
pub(super) fn message(text: &str) -> String {
    shown(text, 1000)
}

fn shown(text: &str, longest: usize) -> String {
    let shown = |c: char| match c {
        c if c.is_control() => '\u{fffd}',
        // Characters that XML can't hold, and those that turn the direction of what follows.
        '\u{fffe}' | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    };
    let mut kept: String = text.chars().take(longest).map(shown).collect();
    if text.chars().nth(longest).is_some() {
        kept.push('…');
    }
    kept
}

/// Takes the zeros after the point away, in front of an exponent too.
fn trimmed(text: &str) -> String {
    let (digits, exponent) = match text.split_once('e') {
        Some((digits, exponent)) => (digits, format!("e{exponent}")),
        None => (text, String::new()),
    };
    if !digits.contains('.') {
        return text.to_string();
    }
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}{exponent}")
}

/// The colour at `position` in `[0, 1]` between equidistant stops.
fn between(stops: &[RGBColor], position: f64) -> RGBColor {
    let last = stops.len() - 1;
    let scaled = position.clamp(0.0, 1.0) * last as f64;
    let index = (scaled.floor() as usize).min(last.saturating_sub(1));
    let part = scaled - index as f64;
    let (a, b) = (stops[index], stops[last.min(index + 1)]);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// The style of text.
fn text(color: &RGBColor) -> TextStyle<'static> {
    let mut style = TextStyle::from(("sans-serif", TEXT).into_font());
    style.color = color.to_backend_color();
    style
}

/// Draws on a new canvas of `width` x `height` pixels, and names it for those who can't see it.
fn canvas(
    title: &str,
    (width, height): (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), DrawingAreaErrorKind<io::Error>>,
) -> Result<String, ReportError> {
    let failed = |message: &dyn Display| ReportError::Plot {
        plot: title.to_string(),
        message: message.to_string(),
    };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        draw(&root).map_err(|error| failed(&error))?;
        root.present().map_err(|error| failed(&error))?;
    }
    let named = format!("<svg role=\"img\" aria-label=\"{}\" ", html! { (title) }.0);
    Ok(svg
        .replacen("<svg ", &named, 1)
        .replace(INK_TEXT, "\"currentColor\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_no_empty_ones() {
        let shown = [
            (0.0, "0"),
            (41.0, "41"),
            (41.256, "41.3"),
            (0.012345, "0.0123"),
            (1234.5, "1234"),
            (2.5e-5, "2.5e-5"),
            (3e9, "3e9"),
            (-0.5, "-0.5"),
            (f64::NAN, "n/a"),
            (f64::INFINITY, "n/a"),
        ];
        for (value, text) in shown {
            assert_eq!(number(value), text);
        }
        assert_eq!((loss(83.27654), loss(0.5)), ("83.277".into(), "0.5".into()));
        assert_eq!(percent(0.125), "12.5 %");
        assert_eq!(percent(f64::NAN), "n/a");
        assert_eq!(count(1234567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(12), "12");
    }

    #[test]
    fn neighbouring_ticks_have_different_labels() {
        let labels = |first: f64, step: f64| -> Vec<String> {
            let values = (0..4).map(|index| first + f64::from(index) * step);
            values.map(|value| tick(value, step)).collect()
        };
        assert_eq!(labels(83.2, 0.02), ["83.2", "83.22", "83.24", "83.26"]);
        assert_eq!(labels(-0.2, 0.2), ["-0.2", "0", "0.2", "0.4"]);
        assert_eq!(labels(0.0, 2.5e-6), ["0", "2.5e-6", "5e-6", "7.5e-6"]);
        assert_eq!(labels(0.0, 500.0), ["0", "500", "1000", "1500"]);
        assert_eq!(tick(-5.55e-17, 0.2), "0");
    }

    #[test]
    fn names_lose_what_a_page_cannot_hold() {
        assert_eq!(label("speech-zh"), "speech-zh");
        assert_eq!(label("a\u{0}b\u{1b}\u{202e}"), "a\u{fffd}b\u{fffd}\u{fffd}");
        assert_eq!(label(&"x".repeat(60)), format!("{}…", "x".repeat(48)));
    }

    #[test]
    fn colours_between_stops_are_mixed() {
        let stops = [RGBColor(0, 0, 0), RGBColor(100, 200, 50)];
        assert_eq!(between(&stops, 0.5), RGBColor(50, 100, 25));
        assert_eq!(between(&stops, -1.0), stops[0]);
        assert_eq!(between(&stops, 7.0), stops[1]);
        assert_eq!(between(&stops, f64::NAN), RGBColor(0, 0, 0));
    }
}

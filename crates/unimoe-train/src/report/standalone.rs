//! Plots as files of their own, for pages and papers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use maud::{PreEscaped, html};

use super::{
    error::ReportError,
    page::{Block, Section},
    plot::Figure,
    save,
};

/// Height of a line of text in pixels.
const LINE: usize = 20;
/// What a letter takes in the mean, in pixels.
const LETTER: usize = 7;
/// Space at the sides, in pixels.
const MARGIN: usize = 12;

/// Writes each plot of `sections` to an SVG file of `folder` that is named by its title; returns their paths.
pub(super) fn write(folder: &Path, sections: &[Section]) -> Result<Vec<PathBuf>, ReportError> {
    fs::create_dir_all(folder).map_err(|source| ReportError::Io {
        path: folder.to_path_buf(),
        source,
    })?;
    let blocks = sections.iter().flat_map(|section| &section.blocks);
    let figures = blocks.filter_map(|block| match block {
        Block::Plot(figure) => Some(figure),
        _ => None,
    });
    let mut paths: Vec<PathBuf> = Vec::new();
    for figure in figures {
        let name = slug(&figure.title);
        let mut path = folder.join(format!("{name}.svg"));
        let mut times = 1;
        while paths.contains(&path) {
            times += 1;
            path = folder.join(format!("{name}-{times}.svg"));
        }
        save(&path, &drawing(figure))?;
        paths.push(path);
    }
    Ok(paths)
}

/// The plot with its title above and its legend below, on white.
fn drawing(figure: &Figure) -> String {
    let [width, plot] = ["width", "height"].map(|name| size(&figure.svg, name));
    let lines = legend(figure, width);
    let height = LINE + MARGIN + plot + lines.len() * LINE + MARGIN;
    let markup = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox=(format!("0 0 {width} {height}"))
            font-family="sans-serif" font-size="13" color="#1c2024" fill="#1c2024" {
            rect width="100%" height="100%" fill="#ffffff" {}
            text x=(MARGIN) y=(LINE) font-weight="bold" { (figure.title) }
            g transform=(format!("translate(0 {})", LINE + MARGIN)) { (PreEscaped(&figure.svg)) }
            @for (row, line) in lines.iter().enumerate() {
                @let y = LINE + MARGIN + plot + row * LINE;
                @for (x, (color, name)) in line {
                    rect x=(x) y=(y + 4) width="12" height="12" rx="2"
                        fill=(format!("rgb({}, {}, {})", color.0, color.1, color.2)) {}
                    text x=(x + 18) y=(y + 14) { (name) }
                }
            }
        }
    };
    markup.into_string()
}

type Entry<'a> = &'a (plotters::prelude::RGBColor, String);

/// The legend's entries by line, each with its place.
fn legend(figure: &Figure, width: usize) -> Vec<Vec<(usize, Entry<'_>)>> {
    let mut lines: Vec<Vec<(usize, Entry<'_>)>> = Vec::new();
    let mut x = usize::MAX;
    for entry in &figure.legend {
        let wide = 18 + LETTER * entry.1.chars().count() + 2 * MARGIN;
        if lines.is_empty() || x + wide > width {
            lines.push(Vec::new());
            x = MARGIN;
        }
        if let Some(line) = lines.last_mut() {
            line.push((x, entry));
        }
        x += wide;
    }
    lines
}

/// A number of the drawing's first tag.
fn size(svg: &str, name: &str) -> usize {
    let value = svg.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest);
    let digits = value.and_then(|rest| rest.split('"').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(640)
}

/// A title as the name of a file: letters and digits, what is between them as one hyphen.
fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-").to_lowercase();
    match name.is_empty() {
        true => "plot".to_string(),
        false => name.chars().take(80).collect(),
    }
}

#[cfg(test)]
mod tests {
    use plotters::prelude::RGBColor;

    use super::*;

    fn figure(title: &str) -> Figure {
        let named = |name: &str| (RGBColor(1, 2, 3), name.to_string());
        Figure {
            title: title.to_string(),
            caption: String::new(),
            svg: "<svg role=\"img\" width=\"200\" height=\"100\"></svg>".to_string(),
            legend: vec![named("a <run>"), named("another run"), named("a third")],
        }
    }

    #[test]
    fn each_plot_is_a_file_of_its_own_whatever_its_title() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut section = Section::new("s");
        for title in [
            "Loss: music",
            "Loss, music",
            "../..",
            "Loss & <b>",
            "Loss: music 2",
        ] {
            section.plot(Some(figure(title)));
        }
        let paths = write(&folder.path().join("plots"), &[section]).expect("written");
        let names: Vec<_> = (paths.iter())
            .map(|path| path.file_name().expect("a name").to_string_lossy())
            .collect();
        let expected = [
            "loss-music.svg",
            "loss-music-2.svg",
            "plot.svg",
            "loss-b.svg",
            "loss-music-2-2.svg",
        ];
        assert_eq!(names, expected);
        for path in &paths {
            let text = fs::read_to_string(path).expect("read");
            roxmltree::Document::parse(&text).expect("XML");
        }
    }

    #[test]
    fn legends_go_on_in_the_next_line_and_the_drawing_grows() {
        let figure = figure("t");
        let lines = legend(&figure, 200);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(legend(&figure, 500)[0].len(), 3);
        // Title, plot, three lines, margins.
        assert!(drawing(&figure).contains("height=\"204\""));
    }
}

//! The page: sections of texts, tables and plots in one HTML file without anything from outside.
//!
//! What it writes is well-formed XML too, so that every tool can read it.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plot::Figure;

/// Colours follow the reader's light or dark setting; plots take their ink from the text.
const STYLE: &str = "
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2024; --pale: #5c6670; --line: #d5dae0; --card: #f7f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e4e7eb; --pale: #9aa4af; --line: #343b43; --card: #1d2126; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1440px; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line); }
p { max-width: 75ch; margin: .5rem 0; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; padding: 0; margin: .5rem 0; }
a { color: inherit; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); gap: 1rem; margin: 1rem 0; }
figure { margin: 0; padding: .75rem 1rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
figcaption { margin-bottom: .25rem; }
figcaption span { display: block; color: var(--pale); font-size: .875rem; }
figure svg { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1rem; list-style: none; padding: 0; margin: .25rem 0 0; font-size: .875rem; }
.legend span { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .4rem; border: 1px solid var(--line); }
.legend li { overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
th { overflow-wrap: break-word; max-width: 16rem; }
thead th { color: var(--pale); font-weight: 600; }
@media print { figure { break-inside: avoid; } }
";

/// A part of a page with a heading.
#[derive(Debug, Clone, Default)]
pub(super) struct Section {
    pub title: String,
    pub blocks: Vec<Block>,
}

/// What a section holds.
#[derive(Debug, Clone)]
pub(super) enum Block {
    Text(String),
    Plot(Figure),
    Table(Table),
}

/// Figures as text.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub caption: String,
    pub head: Vec<String>,
    /// The first cell of each row names it.
    pub rows: Vec<Vec<String>>,
}

impl Section {
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            blocks: Vec::new(),
        }
    }

    pub fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Text(text.into()));
    }

    /// Adds a plot; where there is none, nothing.
    pub fn plot(&mut self, figure: Option<Figure>) {
        self.blocks.extend(figure.map(Block::Plot));
    }

    /// Adds a table; where it has no rows, nothing.
    pub fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.blocks.push(Block::Table(table));
        }
    }
}

/// The whole file.
pub(super) fn page(title: &str, introduction: &str, sections: &[Section]) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" xmlns="http://www.w3.org/1999/xhtml" {
            head {
                // Closed, unlike the library's own: XML has no void elements.
                (PreEscaped("<meta charset=\"utf-8\"/>"))
                (PreEscaped("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>"))
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p { (introduction) }
                    nav aria-label="Sections" { ul {
                        @for (index, section) in sections.iter().enumerate() {
                            li { a href={ "#s" (index) } { (section.title) } }
                        }
                    } }
                }
                main {
                    @for (index, section) in sections.iter().enumerate() {
                        section id={ "s" (index) } {
                            h2 { (section.title) }
                            (blocks(&section.blocks))
                        }
                    }
                }
            }
        }
    };
    markup.into_string()
}

/// Plots that follow one another stand side by side.
fn blocks(blocks: &[Block]) -> Markup {
    let plot = |block: &Block| matches!(block, Block::Plot(_));
    let groups = blocks.chunk_by(|a, b| plot(a) && plot(b));
    html! {
        @for group in groups {
            @match group {
                [Block::Text(text)] => p { (text) },
                [Block::Table(one)] => (table(one)),
                plots => div class="plots" {
                    @for block in plots {
                        @if let Block::Plot(one) = block { (figure(one)) }
                    }
                },
            }
        }
    }
}

fn figure(figure: &Figure) -> Markup {
    html! {
        figure {
            figcaption {
                strong { (figure.title) }
                @if !figure.caption.is_empty() { span { (figure.caption) } }
            }
            (PreEscaped(&figure.svg))
            @if !figure.legend.is_empty() {
                ul class="legend" {
                    @for (color, name) in &figure.legend {
                        @let (r, g, b) = (color.0, color.1, color.2);
                        li { span style=(format!("background: rgb({r}, {g}, {b})")) {} (name) }
                    }
                }
            }
        }
    }
}

fn table(table: &Table) -> Markup {
    html! {
        div class="wide" {
            table {
                caption { (table.caption) }
                thead { tr { @for cell in &table.head { th scope="col" { (cell) } } } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for (index, cell) in row.iter().enumerate() {
                                @if index == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_page_it_is_well_formed_and_says_it() {
        let evil = "</title><script>alert('\"&')</script>";
        let mut section = Section::new(evil);
        section.text(evil);
        section.table(Table {
            caption: evil.to_string(),
            head: vec![evil.to_string()],
            rows: vec![vec![evil.to_string()]],
        });
        let page = page(evil, evil, &[section]);
        assert!(!page.contains("<script"));
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        let document = roxmltree::Document::parse_with_options(&page, options).expect("XML");
        let told = document
            .descendants()
            .filter(|node| node.text() == Some(evil) && node.is_text());
        // Title, heading, introduction, link, heading of the section, text, caption, head, cell.
        assert_eq!(told.count(), 9);
    }

    #[test]
    fn plots_in_a_row_stand_together() {
        let figure = Figure {
            title: "f".to_string(),
            caption: String::new(),
            svg: "<svg></svg>".to_string(),
            legend: vec![],
        };
        let mut section = Section::new("s");
        section.plot(Some(figure.clone()));
        section.plot(None);
        section.plot(Some(figure.clone()));
        section.text("between");
        section.plot(Some(figure));
        let page = page("t", "i", &[section]);
        assert_eq!(page.matches("class=\"plots\"").count(), 2);
        assert_eq!(page.matches("<figure>").count(), 3);
    }
}

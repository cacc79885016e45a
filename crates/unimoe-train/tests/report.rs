//! Reports on logs as runs write them, and on logs that nobody should write.

#[path = "report/synthetic.rs"]
mod synthetic;

use std::{collections::BTreeMap, path::Path};

use roxmltree::{Document, Node, ParsingOptions};
use unimoe_train::{
    Event, JsonLines, LayerLoad, Observer, RoutingSummary, RunLog, render_report, write_report,
};

fn parse(html: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(html, options).expect("well-formed")
}

fn tags<'a>(document: &'a Document<'a>, tag: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    let nodes = document.descendants();
    nodes.filter(move |node| node.tag_name().name() == tag)
}

fn titles(document: &Document<'_>) -> Vec<String> {
    tags(document, "strong")
        .filter_map(|node| node.text().map(String::from))
        .collect()
}

fn texts(document: &Document<'_>) -> String {
    let nodes = document.descendants().filter_map(|node| node.text());
    nodes.collect::<Vec<_>>().join("\n")
}

/// Names in the legend of the first plot.
fn legend(document: &Document<'_>) -> Vec<String> {
    let figure = tags(document, "figure").next().expect("a figure");
    let names = figure.descendants().filter(|node| node.has_tag_name("li"));
    names
        .filter_map(|node| node.last_child()?.text().map(String::from))
        .collect()
}

/// Where a person can look at the reports that the tests make.
fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

#[test]
fn a_stage_report_shows_every_plot_of_the_paper() {
    let run = synthetic::joint("joint", 7);
    let path = folder().join("stage.html");
    write_report(&path, "Joint training", &[run]).expect("a report");
    let html = std::fs::read_to_string(path).expect("written");
    let document = parse(&html);
    let titles = titles(&document);
    for expected in [
        "Training loss by domain",
        "Validation loss by domain",
        "Loss by codec channel",
        "Objective",
        "Term balance",
        "Experts per token: all domains",
        "Experts per token: music",
        "Expert load: speech-en",
        "Expert load: video_music",
        "Whose tokens an expert gets",
        "Router entropy by layer",
        "Router entropy over time",
        "Null experts by layer",
        "Expert-domain mutual information by layer",
        "Expert-domain mutual information over time",
        "Experts per token over time",
        "Cosine of gradients: joint",
        "Cosine of gradients over time: joint",
        "Learning rate",
        "Gradient norm",
        "Tokens per second",
        "Waiting for data",
        "Time of a step",
    ] {
        assert!(
            titles.contains(&expected.to_string()),
            "{expected}: {titles:?}"
        );
    }
    assert_eq!(tags(&document, "svg").count(), titles.len());
    for svg in tags(&document, "svg") {
        assert!(
            svg.attribute("aria-label")
                .is_some_and(|label| !label.is_empty())
        );
        assert!(svg.children().filter(Node::is_element).count() > 10);
    }
    // The legend names each domain once, not its pale line too.
    assert_eq!(legend(&document), synthetic::DOMAINS);
}

#[test]
fn a_report_needs_nothing_from_outside() {
    let html = render_report("t", &[synthetic::joint("joint", 1)]).expect("a report");
    let document = parse(&html);
    for node in document.descendants() {
        assert!(!["script", "link", "img", "iframe", "image"].contains(&node.tag_name().name()));
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on"), "{}", attribute.name());
            assert!(attribute.name() != "src");
            if attribute.name() == "href" {
                assert!(attribute.value().starts_with('#'), "{}", attribute.value());
            }
        }
    }
    assert!(!html.contains("url(") && !html.contains("@import"));
}

#[test]
fn a_curriculum_report_puts_the_stages_one_behind_the_other() {
    let path = folder().join("curriculum.html");
    write_report(&path, "The curriculum", &synthetic::curriculum()).expect("a report");
    let html = std::fs::read_to_string(path).expect("written");
    let document = parse(&html);
    let titles = titles(&document);
    for domain in synthetic::DOMAINS {
        let plots = titles
            .iter()
            .filter(|title| **title == format!("Training loss: {domain}"));
        assert_eq!(plots.count(), 1);
    }
    // A specialist's own domain, then warm-up and joint training.
    assert_eq!(legend(&document), ["specialist-music", "warmup", "joint"]);
    assert!(texts(&document).contains("Plots of routing are left out for specialist-music"));
}

#[test]
fn names_from_manifests_are_shown_and_never_become_markup() {
    let evil = "</text></svg><script>alert(1)</script>&\"'\u{0}\u{202e}";
    let mut run = synthetic::joint(evil, 3);
    for event in &mut run.events {
        match event {
            Event::Step { domains, terms, .. } => {
                terms.insert(evil.to_string(), 1.0);
                rename(domains, evil);
            }
            Event::Validation {
                domains, routing, ..
            } => {
                rename(domains, evil);
                rename(routing, evil);
            }
            Event::GradientConflict { domains, .. } => domains[0] = evil.to_string(),
            Event::End {
                reason, message, ..
            } => {
                *reason = evil.to_string();
                *message = evil.to_string();
            }
            _ => {}
        }
    }
    for runs in [vec![run.clone()], vec![run.clone(), run]] {
        let html = render_report(evil, &runs).expect("a report");
        let document = parse(&html);
        assert_eq!(tags(&document, "script").count(), 0);
        let text = texts(&document);
        assert!(text.contains("<script>alert(1)</script>&\"'\u{fffd}\u{fffd}"));
        assert!(!text.contains('\u{202e}'));
    }
}

fn rename<T>(values: &mut BTreeMap<String, T>, name: &str) {
    let value = values.remove("music").expect("something of music");
    values.insert(name.to_string(), value);
}

#[test]
fn what_a_log_does_not_hold_is_left_out_with_a_sentence() {
    let whole = synthetic::joint("joint", 5);
    let without = |drop: fn(&Event) -> bool| {
        let mut run = whole.clone();
        run.events.retain(|event| !drop(event));
        let html = render_report("t", &[run]).expect("a report");
        texts(&parse(&html))
    };
    let steps = without(|event| matches!(event, Event::Step { .. }));
    assert!(steps.contains("No step was logged"));
    let validations = without(|event| matches!(event, Event::Validation { .. }));
    assert!(validations.contains("No validation was logged"));
    assert!(validations.contains("Plots of routing are left out for joint"));
    let conflicts = without(|event| matches!(event, Event::GradientConflict { .. }));
    assert!(conflicts.contains("Left out for joint: it was not measured"));
    let empty = RunLog {
        name: String::new(),
        events: vec![],
    };
    for runs in [vec![], vec![empty.clone()], vec![empty; 2]] {
        let html = render_report("", &runs).expect("a report");
        assert_eq!(tags(&parse(&html), "svg").count(), 0);
    }
}

#[test]
fn logs_that_nobody_should_write_do_no_harm() {
    let huge = LayerLoad {
        load: vec![f64::NAN, 1e300, -5.0],
        routed: usize::MAX,
        experts_per_token: vec![f64::INFINITY; 3],
        entropy: f64::NAN,
    };
    let routing = |layers: Vec<LayerLoad>| {
        BTreeMap::from([
            ("a".to_string(), RoutingSummary { layers }),
            ("b".to_string(), RoutingSummary::default()),
        ])
    };
    let validation = |step, routing| Event::Validation {
        step,
        loss: f64::NAN,
        domains: BTreeMap::from([("a".to_string(), f64::NAN)]),
        routing,
    };
    let step = |step, value: f64| Event::Step {
        step,
        epoch: u64::MAX,
        loss: value,
        domains: BTreeMap::from([("a".to_string(), value)]),
        channels: vec![value; 3],
        terms: BTreeMap::from([(String::new(), value)]),
        gradient_norm: value,
        learning_rate: value,
        tokens: u64::MAX,
        seconds: value,
        waited: -value,
    };
    let conflict = |cosines| Event::GradientConflict {
        step: u64::MAX,
        domains: vec!["a".to_string(); 3],
        cosines,
    };
    let values = [f64::NAN, f64::NEG_INFINITY, -1e308, 1e308, 5e-324, 0.0, 3.0];
    let mut events = vec![
        validation(0, routing(vec![])),
        validation(9, routing(vec![huge, LayerLoad::default()])),
        conflict(vec![]),
        conflict(vec![vec![f64::NAN; 9], vec![7.0]]),
    ];
    for (index, &value) in values.iter().enumerate() {
        events.push(step(index as u64, value));
        events.push(step(u64::MAX - index as u64, value));
        let alone = RunLog {
            name: "one step".to_string(),
            events: vec![step(1, value)],
        };
        parse(&render_report("t", &[alone]).expect("a report"));
    }
    let run = RunLog {
        name: "all".to_string(),
        events,
    };
    parse(&render_report("t", std::slice::from_ref(&run)).expect("a report"));
    parse(&render_report("t", &[run.clone(), run]).expect("a report"));
}

#[test]
fn a_run_is_read_from_its_folder_and_named_by_its_stage() {
    let run = synthetic::joint("joint", 2);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(JsonLines::FILE_NAME);
    let error = RunLog::read(folder.path()).expect_err("no log").to_string();
    assert!(error.contains(JsonLines::FILE_NAME), "{error}");
    let mut log = JsonLines::open(&path, 0).expect("a log");
    for event in &run.events {
        log.notice(event).expect("noted");
    }
    let read = RunLog::read(folder.path()).expect("a run");
    assert_eq!(
        (read.name.as_str(), read.events.len()),
        ("joint", run.events.len())
    );
    // Whole numbers come back exactly; other numbers of JSON may differ in their last bit.
    assert_eq!(read.events[0], run.events[0]);
    assert_eq!(read.events.last(), run.events.last());
}

#[test]
fn a_report_that_can_not_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing").join("report.html");
    let error = write_report(&missing, "t", &[]).expect_err("no folder");
    assert!(error.to_string().contains("report.html"), "{error}");
    let taken = folder.path().join("folder.html");
    std::fs::create_dir(&taken).expect("a folder");
    write_report(&taken, "t", &[]).expect_err("a folder in its place");
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
}

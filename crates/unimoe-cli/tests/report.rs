//! `unimoe report`: a page of what training noted.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{fs, path::Path};

use common::Place;
use serde_json::{Value, json};

fn run(folder: &Path, stage: &str) {
    fs::create_dir_all(folder).unwrap();
    let begin = json!({"event": "begin", "stage": stage, "steps": 2, "done": 0, "parameters": 5, "trained": 5, "seed": 0});
    let step = |step: u64| {
        json!({
            "event": "step", "step": step, "epoch": 1, "loss": 2.5, "domains": {"music": 2.5}, "channels": [2.5],
            "terms": {}, "gradient_norm": 1.0, "learning_rate": 1e-4, "tokens": 9, "seconds": 0.5, "waited": 0.0,
        })
    };
    let lines = [begin, step(1), step(2)].map(|line| format!("{line}\n"));
    fs::write(folder.join("metrics.jsonl"), lines.concat()).unwrap();
}

#[test]
fn runs_are_drawn_into_one_page() {
    let place = Place::new();
    run(&place.path("out/warmup"), "warmup");
    run(&place.path("out/joint"), "joint");
    let line = [
        "report",
        "out/warmup",
        "out/joint",
        "-o",
        "page.html",
        "--title",
        "Mine",
        "--plots",
        "plots",
        "--json",
    ];
    let told: Value = serde_json::from_str(&place.works(&line)).unwrap();
    assert_eq!(told["path"], "page.html");
    assert_eq!(told["runs"], json!(["warmup", "joint"]));
    let plots = told["plots"].as_array().unwrap();
    assert!(plots.contains(&json!("plots/training-loss-music.svg")));
    for plot in plots {
        let plot = fs::read_to_string(place.path(plot.as_str().unwrap())).unwrap();
        assert!(plot.starts_with("<svg"));
    }
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("<h1>Mine</h1>") && page.contains("<svg"));
    // The folder of both gives both.
    assert_eq!(place.works(&["report", "out"]), "report.html: 2 runs\n");
}

#[test]
fn what_is_no_run_is_refused_and_nothing_is_written() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    place.fails(&["report", "empty"], 3, &["empty", "metrics.jsonl"]);
    place.fails(&["report", "missing"], 3, &["missing"]);
    fs::create_dir(place.path("bad")).unwrap();
    fs::write(place.path("bad/metrics.jsonl"), "{}\n").unwrap();
    place.fails(&["report", "bad"], 3, &["metrics.jsonl", "line 1"]);
    run(&place.path("good"), "joint");
    place.fails(
        &["report", "good", "-o", "no/page.html"],
        5,
        &["no/page.html"],
    );
    place.fails(&["report"], 2, &["RUN"]);
    assert_eq!(place.listing("."), ["bad", "empty", "good"]);
}

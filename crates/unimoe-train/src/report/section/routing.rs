//! Routing: the paper's figures 4 and 5, router entropy, and how far experts belong to domains.

use std::collections::BTreeMap;

use super::{Material, expert, line, list, mean};
use crate::{
    event::{LayerLoad, RoutingSummary},
    report::{
        error::ReportError,
        history::{History, Validation},
        page::{Section, Table},
        plot::{HeatMap, LinePlot, Scale, StackedBars, color, label, number, percent},
        specialization::{dead_experts, mutual_information},
    },
};

/// An expert with less than this share of every domain's tokens is called dead.
const DEAD: f64 = 0.001;

/// One section for each run that tells of routing.
pub(super) fn sections(material: &Material<'_>) -> Result<Vec<Section>, ReportError> {
    let (mut sections, mut silent, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for run in &material.runs {
        let Some(last) = run.routing() else {
            silent.push(label(run.name));
            continue;
        };
        sections.push(section(material, run, last)?);
        rows.push(row(run, last));
    }
    let mut first = Section::new("Routing");
    if !silent.is_empty() {
        let names = list(&silent);
        first.text(format!(
            "Plots of routing are left out for {names}: no validation with routing was logged."
        ));
    }
    let head = [
        "run",
        "experts per token",
        "routed experts per token",
        "share of null experts",
        "router entropy (nats)",
        "mutual information (nats)",
        "dead experts",
    ];
    first.table(Table {
        caption: "Means over layers and domains, at the last validation".to_string(),
        head: head.map(String::from).to_vec(),
        rows,
    });
    sections.insert(0, first);
    Ok(sections)
}

fn section(
    material: &Material<'_>,
    run: &History<'_>,
    last: &Validation<'_>,
) -> Result<Section, ReportError> {
    let mut section = Section::new(format!("Routing: {}", label(run.name)));
    section.text(format!(
        "At the validation after step {}. The pool holds the routed experts E1, E2, ... and null experts, \
         which compute nothing; shared experts, which every token visits, are not in it. All domains weigh \
         the same.",
        number(last.step)
    ));
    section.text(expert::dead(&dead_experts(last.routing, DEAD), DEAD));
    for bars in experts_per_token(material, last) {
        section.plot(bars.draw()?);
    }
    for map in loads(material, last) {
        match map.draw()? {
            Some(figure) => section.plot(Some(figure)),
            None => section.text(format!("{}: too large for a picture, left out.", map.title)),
        }
    }
    section.plot(origin(material, last).draw()?);
    for plot in by_layer(material, last) {
        section.plot(plot.draw()?);
    }
    for plot in over_time(material, run) {
        section.plot(plot.draw()?);
    }
    section.table(table(material, last));
    Ok(section)
}

/// Figure 4: share of the tokens by number of experts, in each layer.
fn experts_per_token(material: &Material<'_>, last: &Validation<'_>) -> Vec<StackedBars> {
    let all = last.routing.values().flat_map(|summary| &summary.layers);
    let classes = expert::Classes::new(all);
    let depth = depth(last.routing);
    let bars = |title: String, shares: Vec<Vec<f64>>| StackedBars {
        title,
        caption: "Null experts included.".to_string(),
        x: "layer".to_string(),
        y: "tokens (%)".to_string(),
        categories: (0..shares.len()).map(|layer| layer.to_string()).collect(),
        parts: classes.parts.clone(),
        shares,
    };
    let together = (0..depth).map(|layer| {
        let loads = last
            .routing
            .values()
            .filter_map(|one| one.layers.get(layer));
        let shares: Vec<Vec<f64>> = loads.map(|load| classes.shares(load)).collect();
        let part = |part: usize| mean(shares.iter().map(|shares| shares[part]));
        (0..classes.parts.len()).map(part).collect()
    });
    let mut plots = vec![bars(
        "Experts per token: all domains".to_string(),
        together.collect(),
    )];
    if last.routing.len() > 1 {
        plots.extend(material.of(last.routing).map(|(name, _, summary)| {
            let shares = summary.layers.iter().map(|load| classes.shares(load));
            bars(format!("Experts per token: {name}"), shares.collect())
        }));
    }
    plots
}

/// Figure 5: load of each expert in each layer, one table per domain.
fn loads(material: &Material<'_>, last: &Validation<'_>) -> Vec<HeatMap> {
    let layers = || last.routing.values().flat_map(|summary| &summary.layers);
    let values = layers().flat_map(|layer| layer.load.iter().copied());
    let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let pool = layers().map(|layer| layer.load.len()).max().unwrap_or(0);
    let routed = layers().map(|layer| layer.routed).max().unwrap_or(0);
    let map = |(name, _, summary): (String, _, &RoutingSummary)| {
        HeatMap {
        title: format!("Expert load: {name}"),
        caption: "Tokens that visit the expert, in per cent; rows sum to 100 times the experts per token.".to_string(),
        x: "expert".to_string(),
        y: "layer".to_string(),
        columns: expert::names(routed, pool),
        rows: (0..summary.layers.len()).map(|layer| layer.to_string()).collect(),
        values: summary.layers.iter().map(|layer| layer.load.clone()).collect(),
        scale: Scale::Share(most),
    }
    };
    material.of(last.routing).map(map).collect()
}

/// Whose tokens each expert gets, over all layers (the lower part of figure 5).
fn origin(material: &Material<'_>, last: &Validation<'_>) -> StackedBars {
    let layers = || last.routing.values().flat_map(|summary| &summary.layers);
    let pool = layers().map(|layer| layer.load.len()).max().unwrap_or(0);
    let routed = layers().map(|layer| layer.routed).max().unwrap_or(0);
    let domains: Vec<_> = material.of(last.routing).collect();
    let load = |summary: &RoutingSummary, expert: usize| {
        let loads = summary.layers.iter();
        mean(loads.filter_map(|layer| layer.load.get(expert).copied()))
    };
    let shares = (0..pool).map(|expert| {
        let loads: Vec<f64> = domains
            .iter()
            .map(|(_, _, one)| load(one, expert))
            .collect();
        let total: f64 = loads.iter().filter(|load| load.is_finite()).sum();
        loads.iter().map(|load| load / total).collect()
    });
    StackedBars {
        title: "Whose tokens an expert gets".to_string(),
        caption: "Mean over the layers; an even split means that the expert belongs to no domain."
            .to_string(),
        x: "expert".to_string(),
        y: "share of its visits (%)".to_string(),
        categories: expert::names(routed, pool),
        parts: domains
            .iter()
            .map(|(name, color, _)| (name.clone(), *color))
            .collect(),
        shares: shares.collect(),
    }
}

/// A value of each domain in each layer.
fn by_layer(material: &Material<'_>, last: &Validation<'_>) -> Vec<LinePlot> {
    let plot = |title: &str, y: &str, value: fn(&LayerLoad) -> f64| LinePlot {
        title: title.to_string(),
        x: "layer".to_string(),
        y: y.to_string(),
        series: material
            .of(last.routing)
            .map(|(name, color, summary)| {
                let layers = summary.layers.iter().enumerate();
                let points: Vec<_> = layers.map(|(x, load)| (x as f64, value(load))).collect();
                line(name, color, &points)
            })
            .collect(),
        ..LinePlot::default()
    };
    let information = mutual_information(last.routing).into_iter().enumerate();
    let information: Vec<_> = information.map(|(x, y)| (x as f64, y)).collect();
    vec![
        plot("Router entropy by layer", "entropy (nats)", |load| {
            load.entropy
        }),
        plot("Null experts by layer", "share of visits (%)", |load| {
            load.null_share() * 100.0
        }),
        LinePlot {
            title: "Expert-domain mutual information by layer".to_string(),
            caption: format!(
                "0: all domains use the experts alike; {} nats (ln of {} domains): no two share one.",
                number((last.routing.len() as f64).ln()),
                last.routing.len()
            ),
            x: "layer".to_string(),
            y: "information (nats)".to_string(),
            show: Some((0.0, 0.0)),
            series: vec![line("all domains".to_string(), color(0), &information)],
            ..LinePlot::default()
        },
    ]
}

/// Means over the layers at each validation.
fn over_time(material: &Material<'_>, run: &History<'_>) -> Vec<LinePlot> {
    let told = || run.validations.iter().filter(|one| !one.routing.is_empty());
    if told().count() < 2 {
        return Vec::new();
    }
    let plot = |title: &str, y: &str, value: fn(&LayerLoad) -> f64| {
        let domains = material.domains.iter().enumerate();
        let series = domains.filter_map(|(index, domain)| {
            let points: Vec<_> = told()
                .filter_map(|one| {
                    let layers = one.routing.get(*domain)?.layers.iter();
                    Some((one.step, mean(layers.map(value))))
                })
                .collect();
            (!points.is_empty()).then(|| line(label(domain), color(index), &points))
        });
        LinePlot {
            title: title.to_string(),
            caption: "Mean over the layers.".to_string(),
            x: "step".to_string(),
            y: y.to_string(),
            series: series.collect(),
            ..LinePlot::default()
        }
    };
    let information: Vec<_> = told()
        .map(|one| (one.step, mean(mutual_information(one.routing).into_iter())))
        .collect();
    vec![
        plot("Router entropy over time", "entropy (nats)", |load| {
            load.entropy
        }),
        plot(
            "Experts per token over time",
            "experts per token",
            LayerLoad::mean_experts_per_token,
        ),
        LinePlot {
            title: "Expert-domain mutual information over time".to_string(),
            caption: "Mean over the layers.".to_string(),
            x: "step".to_string(),
            y: "information (nats)".to_string(),
            show: Some((0.0, 0.0)),
            series: vec![line("all domains".to_string(), color(0), &information)],
            ..LinePlot::default()
        },
    ]
}

fn table(material: &Material<'_>, last: &Validation<'_>) -> Table {
    let rows = material.of(last.routing).map(|(name, _, summary)| {
        let [a, b, c, d] = means(std::iter::once(summary));
        vec![name, number(a), number(b), percent(c), number(d)]
    });
    let head = [
        "domain",
        "experts per token",
        "routed experts per token",
        "share of null experts",
        "router entropy (nats)",
    ];
    Table {
        caption: "Means over the layers".to_string(),
        head: head.map(String::from).to_vec(),
        rows: rows.collect(),
    }
}

fn row(run: &History<'_>, last: &Validation<'_>) -> Vec<String> {
    let [a, b, c, d] = means(last.routing.values());
    let information = mean(mutual_information(last.routing).into_iter());
    let dead: usize = dead_experts(last.routing, DEAD).iter().map(Vec::len).sum();
    vec![
        label(run.name),
        number(a),
        number(b),
        percent(c),
        number(d),
        number(information),
        dead.to_string(),
    ]
}

/// Experts per token, routed experts per token, share of null experts, entropy.
fn means<'a>(summaries: impl Iterator<Item = &'a RoutingSummary>) -> [f64; 4] {
    let layers: Vec<&LayerLoad> = summaries.flat_map(|summary| &summary.layers).collect();
    let values: [fn(&LayerLoad) -> f64; 4] = [
        LayerLoad::mean_experts_per_token,
        LayerLoad::mean_active_experts,
        LayerLoad::null_share,
        |load| load.entropy,
    ];
    values.map(|value| mean(layers.iter().map(|load| value(load))))
}

fn depth(routing: &BTreeMap<String, RoutingSummary>) -> usize {
    let layers = routing.values().map(|summary| summary.layers.len());
    layers.max().unwrap_or(0)
}

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use unimoe_train::{DataError, Dataset, Loader, OrderConfig, Position, Sampling};

/// Numbers as items; the length of an item is its number times 37, modulo 100, and one.
pub struct Numbers {
    pub domains: Vec<&'static str>,
}

impl Numbers {
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            domains: vec!["a"; count],
        })
    }
}

pub fn length(index: usize) -> usize {
    index * 37 % 100 + 1
}

impl Dataset for Numbers {
    type Item = usize;

    fn len(&self) -> usize {
        self.domains.len()
    }

    fn length(&self, index: usize) -> usize {
        length(index)
    }

    fn domain(&self, index: usize) -> &str {
        self.domains[index]
    }

    fn get(&self, index: usize) -> Result<usize, DataError> {
        Ok(index)
    }
}

pub fn batches(
    set: &Arc<Numbers>,
    order: &OrderConfig,
    from: Position,
    count: usize,
) -> Vec<(Vec<usize>, Position)> {
    let mut loader = Loader::new(set.clone(), order.clone(), from, 0).unwrap();
    (0..count)
        .map(|_| {
            let batch = loader.next_batch().unwrap();
            (batch.items, batch.after)
        })
        .collect()
}

/// The batches of the first epoch.
fn epoch(set: &Arc<Numbers>, order: &OrderConfig) -> Vec<Vec<usize>> {
    let mut loader = Loader::new(set.clone(), order.clone(), Position::default(), 0).unwrap();
    let mut all = Vec::new();
    loop {
        let batch = loader.next_batch().unwrap();
        all.push(batch.items);
        if batch.after.epoch > 0 {
            return all;
        }
    }
}

fn error(set: &Arc<Numbers>, order: OrderConfig, from: Position) -> DataError {
    match Loader::new(set.clone(), order, from, 0) {
        Err(error) => error,
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn an_epoch_holds_every_item_once_and_epochs_differ() {
    let set = Numbers::new(103);
    let order = OrderConfig::new(10, 7);
    let first = epoch(&set, &order);
    assert_eq!(first.len(), 11);
    let items: BTreeSet<usize> = first.iter().flatten().copied().collect();
    assert_eq!(items.len(), 103);
    let two = batches(&set, &order, Position::default(), 22);
    assert_ne!(two[..11], two[11..]);
    assert_eq!(two[21].1, Position { epoch: 2, batch: 0 });
    assert_ne!(first, epoch(&set, &OrderConfig::new(10, 8)));
}

#[test]
fn any_position_goes_on_as_if_uninterrupted() {
    let set = Numbers::new(53);
    let weights = BTreeMap::from([("a".to_string(), 1.0)]);
    for sampling in [
        Sampling::Natural,
        Sampling::Balanced { items: Some(17) },
        Sampling::Weighted {
            weights,
            items: None,
        },
    ] {
        let order = OrderConfig {
            sampling,
            bucket: 2,
            ..OrderConfig::new(8, 3)
        };
        let whole = batches(&set, &order, Position::default(), 30);
        for start in 0..29 {
            let rest = batches(&set, &order, whole[start].1, 29 - start);
            assert_eq!(rest, whole[start + 1..], "after batch {start}");
        }
    }
}

#[test]
fn buckets_put_similar_lengths_together_and_limits_hold() {
    let set = Numbers::new(1000);
    let padding = |order: &OrderConfig| {
        let batches = epoch(&set, order);
        let padded = |batch: &Vec<usize>| {
            let longest = batch.iter().map(|&item| length(item)).max().unwrap();
            longest * batch.len() - batch.iter().map(|&item| length(item)).sum::<usize>()
        };
        batches.iter().map(padded).sum::<usize>()
    };
    let plain = OrderConfig {
        bucket: 0,
        ..OrderConfig::new(10, 1)
    };
    let sorted = OrderConfig::new(10, 1);
    assert!(padding(&sorted) * 5 < padding(&plain));

    let limited = OrderConfig {
        max_tokens: Some(350),
        ..sorted
    };
    let batches = epoch(&set, &limited);
    for batch in &batches {
        let longest = batch.iter().map(|&item| length(item)).max().unwrap();
        assert!(longest * batch.len() <= 350 && batch.len() <= 10);
    }
    assert_eq!(batches.iter().flatten().count(), 1000);
}

#[test]
fn a_batch_that_is_not_full_can_be_left_out() {
    let set = Numbers::new(25);
    let order = OrderConfig {
        drop_last: true,
        ..OrderConfig::new(10, 1)
    };
    let sizes: Vec<usize> = epoch(&set, &order).iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 10]);
    let order = OrderConfig {
        drop_last: true,
        ..OrderConfig::new(26, 1)
    };
    assert!(matches!(
        error(&set, order, Position::default()),
        DataError::Setting { .. }
    ));
}

#[test]
fn measuring_goes_through_everything_in_order() {
    let set = Numbers::new(7);
    let all = epoch(&set, &OrderConfig::sequential(3));
    assert_eq!(all, [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
}

#[test]
fn domains_come_as_often_as_their_weights_say_and_their_items_equally_often() {
    // The imbalance of the paper's table 1, 180 : 100 : 128 : 20.
    let mut domains = Vec::new();
    for (domain, count) in [("zh", 180), ("en", 100), ("music", 128), ("video", 20)] {
        domains.extend(vec![domain; count]);
    }
    let set = Arc::new(Numbers { domains });
    let count = |order: &OrderConfig, epochs: u64| {
        let mut counts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut loader = Loader::new(set.clone(), order.clone(), Position::default(), 0).unwrap();
        let mut seen = vec![0; set.len()];
        loop {
            let batch = loader.next_batch().unwrap();
            batch.items.iter().for_each(|&item| seen[item] += 1);
            if batch.after.epoch >= epochs {
                break;
            }
        }
        for (item, times) in seen.into_iter().enumerate() {
            counts.entry(set.domains[item]).or_default().push(times);
        }
        counts
    };
    let balanced = OrderConfig {
        sampling: Sampling::Balanced { items: None },
        ..OrderConfig::new(16, 5)
    };
    for (domain, times) in count(&balanced, 10) {
        // 428 / 4 items an epoch
        assert_eq!(times.iter().sum::<usize>(), 1070, "{domain}");
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(most - least <= 1, "{domain}: {least} to {most}");
    }
    let weights = [("zh", 3.0), ("video", 1.0), ("en", 0.0)];
    let weighted = OrderConfig {
        sampling: Sampling::Weighted {
            weights: weights
                .map(|(name, weight)| (name.to_string(), weight))
                .into(),
            items: Some(10),
        },
        ..OrderConfig::new(4, 5)
    };
    let sums: BTreeMap<&str, usize> = count(&weighted, 100)
        .into_iter()
        .map(|(domain, times)| (domain, times.iter().sum()))
        .collect();
    assert_eq!(
        sums,
        BTreeMap::from([("en", 0), ("music", 0), ("video", 250), ("zh", 750)])
    );
}

#[test]
fn settings_that_make_no_order_are_errors() {
    let set = Numbers::new(10);
    let good = OrderConfig::new(4, 0);
    let weighted = |weights: &[(&str, f64)]| OrderConfig {
        sampling: Sampling::Weighted {
            weights: weights
                .iter()
                .map(|(name, weight)| (name.to_string(), *weight))
                .collect(),
            items: None,
        },
        ..good.clone()
    };
    for order in [
        OrderConfig::new(0, 0),
        OrderConfig::new(usize::MAX, 0),
        OrderConfig {
            bucket: usize::MAX,
            ..good.clone()
        },
        OrderConfig {
            max_tokens: Some(50),
            ..good.clone()
        },
        OrderConfig {
            sampling: Sampling::Balanced { items: Some(0) },
            ..good.clone()
        },
        OrderConfig {
            sampling: Sampling::Balanced {
                items: Some(usize::MAX),
            },
            ..good.clone()
        },
        weighted(&[]),
        weighted(&[("a", 0.0)]),
        weighted(&[("a", -1.0)]),
        weighted(&[("a", f64::NAN)]),
        weighted(&[("a", f64::MAX), ("a ", f64::MAX)]),
        weighted(&[("b", 1.0)]),
    ] {
        error(&set, order, Position::default());
    }
    for (epoch, batch) in [(0, 4), (0, u64::MAX), (u64::MAX, 0)] {
        error(&set, good.clone(), Position { epoch, batch });
    }
    error(&Numbers::new(0), good, Position::default());
}

//! A SoundFont of a few hundred samples for the tests: a tone for all instruments, a click for the drums.

use crate::{
    attributes::Instrument,
    soundfont::{BASS, program},
};

/// Samples per period of the tone: 441 Hz at 44.1 kHz, said to be key 69.
const PERIOD: usize = 100;
/// Samples of the click.
const CLICK: usize = 220;
/// Zeros after each sample, as the format asks.
const GAP: usize = 46;

/// The file's bytes.
pub(crate) fn test_font() -> Vec<u8> {
    let list = |kind: &[u8; 4], chunks: &[Vec<u8>]| {
        chunk(b"LIST", &[&kind[..], &chunks.concat()].concat())
    };
    let info = list(
        b"INFO",
        &[
            chunk(b"ifil", &[2, 0, 1, 0]),
            chunk(b"isng", b"EMU8000\0"),
            chunk(b"INAM", b"test\0\0"),
        ],
    );
    let samples: Vec<u8> = samples().iter().flat_map(|s| s.to_le_bytes()).collect();
    let sound = list(b"sdta", &[chunk(b"smpl", &samples)]);

    let programs = Instrument::ALL.iter().map(|i| (0, program(*i)));
    let presets: Vec<(i32, i32)> = programs.chain([(0, BASS), (128, 0)]).collect();
    let mut phdr = Vec::new();
    let mut pbag = Vec::new();
    let mut pgen = Vec::new();
    for (i, (bank, program)) in presets.iter().enumerate() {
        phdr.extend(preset("preset", *program, *bank, i));
        pbag.extend(words(&[i, 0]));
        // Generator 41: the instrument.
        pgen.extend(words(&[41, usize::from(*bank == 128)]));
    }
    phdr.extend(preset("EOP", 0, 0, presets.len()));
    pbag.extend(words(&[presets.len(), 0]));
    pgen.extend(words(&[0, 0]));

    let inst = [
        instrument("tone", 0),
        instrument("click", 1),
        instrument("EOI", 2),
    ]
    .concat();
    let ibag = words(&[0, 0, 2, 0, 4, 0]);
    // Generators 54 and 53: 1 loops the sample; the sample.
    let igen = words(&[54, 1, 53, 0, 54, 0, 53, 1, 0, 0]);
    let click = 4 * PERIOD + GAP;
    let shdr = [
        sample("tone", 0, 4 * PERIOD, [PERIOD, 3 * PERIOD]),
        sample("click", click, click + CLICK, [click, click + 1]),
        sample("EOS", 0, 0, [0, 0]),
    ];
    let tables = [
        chunk(b"phdr", &phdr),
        chunk(b"pbag", &pbag),
        chunk(b"pmod", &[0; 10]),
        chunk(b"pgen", &pgen),
        chunk(b"inst", &inst),
        chunk(b"ibag", &ibag),
        chunk(b"imod", &[0; 10]),
        chunk(b"igen", &igen),
        chunk(b"shdr", &shdr.concat()),
    ];
    let tables = list(b"pdta", &tables);
    chunk(b"RIFF", &[&b"sfbk"[..], &info, &sound, &tables].concat())
}

fn samples() -> Vec<i16> {
    let angle = |i: usize| i as f64 / PERIOD as f64 * std::f64::consts::TAU;
    let tone = (0..4 * PERIOD).map(|i| (angle(i).sin() * 12_000.0) as i16);
    let fall = |i: usize| (1.0 - i as f64 / CLICK as f64).powi(2);
    let click = (0..CLICK).map(|i| (angle(5 * i).sin() * fall(i) * 24_000.0) as i16);
    let gap = || std::iter::repeat_n(0, GAP);
    tone.chain(gap()).chain(click).chain(gap()).collect()
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u32).to_le_bytes();
    [&name[..], &size, content].concat()
}

fn words(values: &[usize]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|v| (*v as u16).to_le_bytes())
        .collect()
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(20, 0);
    bytes
}

fn preset(text: &str, program: i32, bank: i32, bag: usize) -> Vec<u8> {
    let numbers = words(&[program as usize, bank as usize, bag]);
    [name(text), numbers, vec![0; 12]].concat()
}

fn instrument(text: &str, bag: usize) -> Vec<u8> {
    [name(text), words(&[bag])].concat()
}

/// A sample of 44.1 kHz, original key 69, mono.
fn sample(text: &str, start: usize, end: usize, looped: [usize; 2]) -> Vec<u8> {
    let places = [start, end, looped[0], looped[1], 44_100];
    let places = places
        .iter()
        .flat_map(|v| (*v as u32).to_le_bytes())
        .collect();
    [name(text), places, vec![69, 0], words(&[0, 1])].concat()
}

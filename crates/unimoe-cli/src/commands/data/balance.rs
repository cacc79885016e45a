//! `unimoe data balance`.

use unimoe_train::Balance;

use super::{
    check_output, failure, load,
    report::{self, BalanceReport},
};
use crate::{args::BalanceArgs, error::CliError};

/// Draws as many clips of each domain, and writes their manifest.
///
/// # Errors
///
/// [`CliError::Input`] where a domain has too few, [`CliError::Output`] where the manifest can't be written.
pub fn run(args: &BalanceArgs) -> Result<(), CliError> {
    check_output(&args.output, &args.source)?;
    let manifest = load(&args.source)?;
    let balance = Balance {
        per_domain: args.per_domain as usize,
        seed: args.seed,
        best: args.best.clone(),
        allow_fewer: args.allow_fewer,
    };
    let drawn = balance.apply(&manifest).map_err(failure("the manifests"))?;
    drawn
        .write(&args.output)
        .map_err(failure("the manifests"))?;
    let taken = report::counts(&drawn);
    let report = BalanceReport {
        output: args.output.clone(),
        seed: args.seed,
        domains: report::counts(&manifest)
            .into_iter()
            .map(|(domain, all)| {
                let drawn = taken.get(&domain).copied().unwrap_or(0);
                (domain, [all, drawn])
            })
            .collect(),
    };
    match args.source.json {
        true => crate::report::json(&report),
        false => crate::report::print(&report.text()),
    }
}

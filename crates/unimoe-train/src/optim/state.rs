//! What optimisation goes on from, to and from a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use burn::{
    module::Module,
    tensor::{DType, Tensor, TensorData},
};
use serde::{Deserialize, Serialize};

use super::{
    OptimError, Optimized,
    variable::{Moments, Variable},
};
use crate::checkpoint::{StateReader, StateWriter};

/// What is no tensor.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    /// Optimizer steps done.
    steps: u64,
    /// Checksum of the parameters that are not trained.
    frozen: u32,
    /// Steps with a gradient of each trained tensor.
    times: BTreeMap<String, u64>,
}

impl<M: Module> Optimized<M> {
    /// Writes the trained values, their moments and averages, and the number of steps, with `prefix` before all
    /// names. What is not trained is not written.
    ///
    /// # Errors
    ///
    /// [`OptimError::Checkpoint`] where they can't be written.
    pub fn save(&self, writer: &mut StateWriter, prefix: &str) -> Result<(), OptimError> {
        let mut put = |kind: &str, variable: &Variable, tensor: &Tensor<1>| {
            let (bytes, _, dtype) = tensor.clone().into_data().into_parts();
            let data = TensorData::from_bytes(bytes, variable.shape.as_slice(), dtype);
            writer.tensor(&name(prefix, kind, variable), data)
        };
        for variable in &self.variables {
            // What is not finite would spoil every run that goes on from here.
            let largest = variable.value.clone().abs().max().into_scalar::<f32>();
            if !largest.is_finite() {
                return Err(OptimError::ValueNotFinite {
                    step: self.steps,
                    parameter: variable.name.clone(),
                });
            }
            put(VALUE, variable, &variable.value)?;
            if let Some(moments) = &variable.moments {
                put(FIRST, variable, &moments.first)?;
                put(SECOND, variable, &moments.second)?;
            }
            if let Some(average) = &variable.average {
                put(AVERAGE, variable, average)?;
            }
        }
        let times = self.variables.iter().map(|variable| {
            let time = variable.moments.as_ref().map_or(0, |moments| moments.time);
            (variable.name.clone(), time)
        });
        let progress = Progress {
            steps: self.steps,
            frozen: self.frozen_checksum(),
            times: times.collect(),
        };
        writer.value(&format!("{prefix}.progress"), &progress)?;
        Ok(())
    }

    /// Takes up what [`save`](Self::save) wrote. Where it doesn't fit everything stays as it was.
    ///
    /// # Errors
    ///
    /// An [`OptimError`] that names the first parameter which is missing, superfluous or of another shape in the
    /// checkpoint, or tells that what is not trained has changed; [`OptimError::Checkpoint`] where it can't be
    /// read, which may leave a part of it here.
    pub fn load(&mut self, reader: &StateReader, prefix: &str) -> Result<(), OptimError> {
        let progress: Progress = reader.value(&format!("{prefix}.progress"))?;
        self.check(&progress, reader, prefix)?;
        for variable in &mut self.variables {
            let time = progress.times.get(&variable.name).copied();
            variable.load(time.unwrap_or(0), reader, prefix)?;
        }
        self.steps = progress.steps;
        self.refresh();
        Ok(())
    }

    /// Whether the checkpoint is of this model with this choice of what is trained.
    fn check(
        &self,
        progress: &Progress,
        reader: &StateReader,
        prefix: &str,
    ) -> Result<(), OptimError> {
        let mut others: BTreeSet<&String> = progress.times.keys().collect();
        for variable in &self.variables {
            if !others.remove(&variable.name) {
                return Err(OptimError::StateMissing {
                    parameter: variable.name.clone(),
                });
            }
            let has_moments = progress.times[&variable.name] > 0;
            for (kind, is_there) in [
                (VALUE, true),
                (FIRST, has_moments),
                (SECOND, has_moments),
                (AVERAGE, variable.average.is_some()),
            ] {
                if !is_there {
                    continue;
                }
                let found = reader.shape(&name(prefix, kind, variable))?;
                if found != variable.shape {
                    return Err(OptimError::StateShape {
                        parameter: variable.name.clone(),
                        expected: variable.shape.clone(),
                        found: found.to_vec(),
                    });
                }
            }
        }
        if let Some(parameter) = others.pop_first() {
            return Err(OptimError::StateExtra {
                parameter: parameter.clone(),
            });
        }
        let found = self.frozen_checksum();
        if progress.frozen != found {
            return Err(OptimError::Frozen {
                expected: progress.frozen,
                found,
            });
        }
        Ok(())
    }
}

const VALUE: &str = "value";
const FIRST: &str = "first_moment";
const SECOND: &str = "second_moment";
const AVERAGE: &str = "average";

fn name(prefix: &str, kind: &str, variable: &Variable) -> String {
    format!("{prefix}.{kind}.{}", variable.name)
}

impl Variable {
    fn load(&mut self, time: u64, reader: &StateReader, prefix: &str) -> Result<(), OptimError> {
        let device = self.value.device();
        let take = |kind: &str| -> Result<Tensor<1>, OptimError> {
            let data = reader.tensor(&name(prefix, kind, self))?;
            let (bytes, shape, dtype) = data.into_parts();
            let data = TensorData::from_bytes(bytes, [shape.num_elements()], dtype);
            Ok(Tensor::from_data(data, (&device, DType::F32)))
        };
        let value = take(VALUE)?;
        let moments = match time {
            0 => None,
            time => Some(Moments {
                time,
                first: take(FIRST)?,
                second: take(SECOND)?,
            }),
        };
        let average = self.average.is_some().then(|| take(AVERAGE)).transpose()?;
        (self.value, self.moments, self.average) = (value, moments, average);
        self.gradient = None;
        Ok(())
    }
}

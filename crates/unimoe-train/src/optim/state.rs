//! What optimisation goes on from, to and from a checkpoint.

use std::collections::BTreeMap;

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
            writer.tensor(&format!("{prefix}.{kind}.{}", variable.name), data)
        };
        for variable in &self.variables {
            put("value", variable, &variable.value)?;
            if let Some(moments) = &variable.moments {
                put("first_moment", variable, &moments.first)?;
                put("second_moment", variable, &moments.second)?;
            }
            if let Some(average) = &variable.average {
                put("average", variable, average)?;
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

    /// Takes up what [`save`](Self::save) wrote. On an error everything is as before.
    ///
    /// # Errors
    ///
    /// An [`OptimError`] that names the first parameter which is missing, superfluous or of another shape in the
    /// checkpoint, or tells that what is not trained has changed.
    pub fn load(&mut self, reader: &StateReader, prefix: &str) -> Result<(), OptimError> {
        let mut progress: Progress = reader.value(&format!("{prefix}.progress"))?;
        let mut loaded = Vec::with_capacity(self.variables.len());
        for variable in &self.variables {
            let time = progress.times.remove(&variable.name);
            let time = time.ok_or_else(|| OptimError::StateMissing {
                parameter: variable.name.clone(),
            })?;
            let take = |kind: &str| -> Result<Tensor<1>, OptimError> {
                let data = reader.tensor(&format!("{prefix}.{kind}.{}", variable.name))?;
                let (bytes, shape, dtype) = data.into_parts();
                if shape.to_vec() != variable.shape {
                    return Err(OptimError::StateShape {
                        parameter: variable.name.clone(),
                        expected: variable.shape.clone(),
                        found: shape.to_vec(),
                    });
                }
                let elements = variable.shape.iter().product::<usize>();
                let data = TensorData::from_bytes(bytes, [elements], dtype);
                let device = variable.value.device();
                Ok(Tensor::from_data(data, (&device, DType::F32)))
            };
            let moments = match time {
                0 => None,
                time => Some(Moments {
                    time,
                    first: take("first_moment")?,
                    second: take("second_moment")?,
                }),
            };
            let average = variable.average.as_ref().map(|_| take("average"));
            loaded.push(Variable {
                name: variable.name.clone(),
                shape: variable.shape.clone(),
                value: take("value")?,
                moments,
                average: average.transpose()?,
                gradient: None,
            });
        }
        if let Some((parameter, _)) = progress.times.pop_first() {
            return Err(OptimError::StateExtra { parameter });
        }
        let found = self.frozen_checksum();
        if progress.frozen != found {
            return Err(OptimError::Frozen {
                expected: progress.frozen,
                found,
            });
        }
        self.variables = loaded;
        self.steps = progress.steps;
        self.refresh();
        Ok(())
    }
}

//! Key and value cache: preallocated once, written in place.
//!
//! Axes: `B` rows, `N` key-value heads, `C` capacity in positions, `S` new positions, `h` head width.

use burn::tensor::{DType, Device, Tensor, s};

/// The cached keys and values of every layer, for decoding step by step.
///
/// Owned by the caller. Does not know which positions are padding: the attention mask does.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    length: usize,
    capacity: usize,
}

/// One layer's part of a [`KvCache`].
#[derive(Debug)]
pub struct LayerCache {
    /// Rotated keys, `[B, N, C, h]`.
    keys: Tensor<4>,
    /// Values, `[B, N, C, h]`.
    values: Tensor<4>,
}

/// Sizes of a [`KvCache`].
#[derive(Debug, Clone, Copy)]
pub struct KvCacheShape {
    /// Number of decoder layers.
    pub n_layers: usize,
    /// Rows `B`.
    pub batch: usize,
    /// Key-value heads `N`.
    pub n_kv_heads: usize,
    /// Capacity `C` in positions.
    pub capacity: usize,
    /// Head width `h`.
    pub d_head: usize,
}

impl KvCache {
    /// An empty cache; reserves its whole memory.
    pub fn new(shape: KvCacheShape, dtype: DType, device: &Device) -> Self {
        let sizes = [shape.batch, shape.n_kv_heads, shape.capacity, shape.d_head];
        let layers = (0..shape.n_layers)
            .map(|_| LayerCache {
                keys: Tensor::zeros(sizes, (device, dtype)),
                values: Tensor::zeros(sizes, (device, dtype)),
            })
            .collect();
        Self {
            layers,
            length: 0,
            capacity: shape.capacity,
        }
    }

    /// Number of positions written so far.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Number of positions there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets everything, keeps the memory.
    pub fn reset(&mut self) {
        self.length = 0;
    }

    /// One layer's part, and the number of positions already in it.
    pub(crate) fn layer(&mut self, index: usize) -> (&mut LayerCache, usize) {
        (&mut self.layers[index], self.length)
    }

    /// Counts `positions` more as written, once every layer holds them.
    pub(crate) fn advance(&mut self, positions: usize) {
        self.length += positions;
    }

    /// The keys written so far in layer `index`, `[B, N, length, h]`.
    ///
    /// # Panics
    ///
    /// Panics if there is no such layer.
    pub fn keys(&self, index: usize) -> Tensor<4> {
        self.layers[index].keys.clone().narrow(2, 0, self.length)
    }

    /// The values written so far in layer `index`, `[B, N, length, h]`.
    ///
    /// # Panics
    ///
    /// Panics if there is no such layer.
    pub fn values(&self, index: usize) -> Tensor<4> {
        self.layers[index].values.clone().narrow(2, 0, self.length)
    }
}

impl LayerCache {
    /// Writes `keys` and `values` from position `start` on and returns all up to their end.
    ///
    /// # Shapes
    ///
    /// - keys, values: `[B, N, S, h]`
    /// - output: `[B, N, start + S, h]` each
    pub(crate) fn append(
        &mut self,
        start: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let end = start + keys.dims()[2];
        // `inplace` hands the backend the only reference, so that it may write without a copy.
        self.keys
            .inplace(|cache| cache.slice_assign(s![.., .., start..end, ..], keys));
        self.values
            .inplace(|cache| cache.slice_assign(s![.., .., start..end, ..], values));
        (
            self.keys.clone().narrow(2, 0, end),
            self.values.clone().narrow(2, 0, end),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_positions_come_back_in_order() {
        let device = Device::flex();
        let shape = KvCacheShape {
            n_layers: 1,
            batch: 1,
            n_kv_heads: 1,
            capacity: 4,
            d_head: 1,
        };
        let mut cache = KvCache::new(shape, DType::F32, &device);
        let first = Tensor::<4>::from_data([[[[1.0], [2.0]]]], &device);
        let second = Tensor::<4>::from_data([[[[3.0]]]], &device);

        let (layer, start) = cache.layer(0);
        layer.append(start, first.clone(), first);
        cache.advance(2);
        let (layer, start) = cache.layer(0);
        let (keys, _) = layer.append(start, second.clone(), second);
        cache.advance(1);

        assert_eq!(cache.length(), 3);
        let keys = keys.into_data().try_into_vec::<f32>().expect("f32");
        assert_eq!(keys, [1.0, 2.0, 3.0]);
    }
}

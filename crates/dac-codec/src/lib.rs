//! The Descript Audio Codec for Burn: encode, quantise and decode, whole or in a stream.

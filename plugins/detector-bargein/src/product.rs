//! Plain loops where most of the time goes, each compiled twice: for any processor, and for those with AVX2.
//!
//! Both do the same additions in the same order, so what comes out is the same to the bit. Not here: what the numbers mean.

/// Functions of slices that are compiled a second time with AVX2, which is chosen when the processor has it.
macro_rules! twice {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$meta])*
        $vis fn $name($($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            fn plain($($arg: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn quick($($arg: $type),*) $(-> $result)? {
                plain($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has AVX2, asked the line before.
                return unsafe { quick($($arg),*) };
            }
            plain($($arg),*)
        }
    )*};
}
pub(crate) use twice;

/// Sums side by side: one alone would wait for itself at every addition.
const LANES: usize = 32;

twice! {
    /// `out = weights · input + bias`; `weights` by rows as long as `input`.
    pub(crate) fn product(weights: &[f32], bias: &[f32], input: &[f32], out: &mut [f32]) {
        for ((row, bias), out) in weights.chunks_exact(input.len()).zip(bias).zip(out) {
            *out = bias + dot(row, input);
        }
    }

    /// A convolution and what is above zero of it: a product for each of the `out.len() / bias.len()` windows of `width`, `stride`
    /// apart. Each row of weights is fetched once for all of them.
    pub(crate) fn convolve(weights: &[f32], bias: &[f32], input: &[f32], width: usize, stride: usize, out: &mut [f32]) {
        for (n, (row, b)) in weights.chunks_exact(width).zip(bias).enumerate() {
            for (t, out) in out.chunks_exact_mut(bias.len()).enumerate() {
                out[n] = (b + dot(row, &input[t * stride..t * stride + width])).max(0.0);
            }
        }
    }
}

#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (mut left, mut right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (x, y) in (&mut left).zip(&mut right) {
        for n in 0..LANES {
            sums[n] += x[n] * y[n];
        }
    }
    let (mut left, mut right) = (left.remainder().chunks_exact(8), right.remainder().chunks_exact(8));
    for (x, y) in (&mut left).zip(&mut right) {
        for n in 0..8 {
            sums[n] += x[n] * y[n];
        }
    }
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    let mut eight = [0.0f32; 8];
    for (n, sum) in sums.iter().enumerate() {
        eight[n % 8] += sum;
    }
    eight.iter().sum::<f32>() + rest
}

/// IEEE 754 half precision, as models are shipped in.
pub(crate) fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff) / 1024.0);
    sign * match exponent {
        0 => fraction * 2f32.powi(-14),
        _ => (1.0 + fraction) * 2f32.powi(exponent - 15),
    }
}

/// To about seven digits, by nothing that a vector instruction cannot do: the library's `exp` took a seventh of the time.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding it rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let t = (x * std::f32::consts::LOG2_E).clamp(-126.0, 126.0);
    let whole = t + ROUND;
    let f = (t - (whole - ROUND)) * std::f32::consts::LN_2;
    let power = f32::from_bits(whole.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    let series = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f / 720.0)))));
    power * series
}

#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_the_sum_of_products() {
        let weights: Vec<f32> = (0..5 * 77).map(|k| (k as f32 * 0.37).sin()).collect();
        let input: Vec<f32> = (0..77).map(|k| (k as f32 * 0.11).cos()).collect();
        let mut out = [0.0; 5];
        product(&weights, &[0.5; 5], &input, &mut out);
        for (n, out) in out.iter().enumerate() {
            let row = weights[n * 77..].iter().zip(&input);
            let exact: f64 = row.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>() + 0.5;
            assert!((f64::from(*out) - exact).abs() < 1e-4, "{n}: {out} {exact}");
        }
    }

    #[test]
    fn curves_are_those_of_the_library() {
        for k in -2_000..2_000 {
            let x = k as f32 * 0.05;
            assert!((tanh(x) - x.tanh()).abs() < 1e-6, "tanh {x}");
            assert!(
                (f64::from(sigmoid(x)) - 1.0 / (1.0 + f64::from(-x).exp())).abs() < 1e-6,
                "sigmoid {x}"
            );
        }
        assert!(sigmoid(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        assert_eq!((sigmoid(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
    }

    #[test]
    fn half_floats_are_read_as_written() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x0001, 5.960_464_5e-8),
            (0, 0.0),
        ] {
            assert_eq!(half(bits), value);
        }
    }
}

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

/// Rows of a [`Matrix`] summed side by side: one sum alone would wait for itself at every addition.
const PANEL: usize = 32;

/// One column's numbers for the rows of a panel.
#[repr(align(64))]
struct Column([f32; PANEL]);

/// Weights and a bias, kept for [`product`] and [`convolve`]: panel below panel, each its bias and then column after column.
pub(crate) struct Matrix {
    rows: usize,
    columns: usize,
    panels: Vec<Column>,
}

impl Matrix {
    /// The next `numbers`: row after row, then the bias.
    pub(crate) fn read(numbers: &mut impl Iterator<Item = f32>, rows: usize, columns: usize) -> Matrix {
        let mut numbers: Vec<f32> = numbers.take(rows * (columns + 1)).collect();
        numbers.resize(rows * (columns + 1), 0.0);
        let mut panels = Vec::with_capacity(rows.div_ceil(PANEL) * (columns + 1));
        for first in (0..rows).step_by(PANEL) {
            // Below the last row stand zeros.
            let number = |n: usize, at: usize| if first + n < rows { numbers[at] } else { 0.0 };
            panels.push(Column(std::array::from_fn(|n| number(n, rows * columns + first + n))));
            panels.extend((0..columns).map(|k| Column(std::array::from_fn(|n| number(n, (first + n) * columns + k)))));
        }
        Matrix { rows, columns, panels }
    }
}

twice! {
    /// `out = matrix · input + bias`.
    pub(crate) fn product(matrix: &Matrix, input: &[f32], out: &mut [f32]) {
        for (panel, out) in matrix.panels.chunks_exact(matrix.columns + 1).zip(out.chunks_mut(PANEL)) {
            out.copy_from_slice(&sums(panel, input)[..out.len()]);
        }
    }

    /// A convolution and what is above zero of it: a product for each window of as many inputs as the matrix has columns, `stride`
    /// apart. Each panel is fetched once for all of them.
    pub(crate) fn convolve(matrix: &Matrix, input: &[f32], stride: usize, out: &mut [f32]) {
        for (n, panel) in matrix.panels.chunks_exact(matrix.columns + 1).enumerate() {
            for (t, out) in out.chunks_exact_mut(matrix.rows).enumerate() {
                let sums = sums(panel, &input[t * stride..][..matrix.columns]);
                for (out, sum) in out[n * PANEL..].iter_mut().zip(sums) {
                    *out = sum.max(0.0);
                }
            }
        }
    }
}

/// A panel's bias and its columns times the inputs.
#[inline(always)]
fn sums(panel: &[Column], input: &[f32]) -> [f32; PANEL] {
    let mut sums = panel[0].0;
    for (column, x) in panel[1..].iter().zip(input) {
        for (sum, weight) in sums.iter_mut().zip(&column.0) {
            *sum += weight * x;
        }
    }
    sums
}

/// Sums of [`dot`] side by side.
const LANES: usize = 32;

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

/// The numbers of a model as it is shipped.
pub(crate) fn numbers(model: &[u8]) -> impl Iterator<Item = f32> {
    model.chunks_exact(2).map(|b| half(u16::from_le_bytes([b[0], b[1]])))
}

/// IEEE 754 half precision.
fn half(bits: u16) -> f32 {
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

    const ROWS: usize = PANEL + 5;
    const COLUMNS: usize = 77;

    fn weight(row: usize, column: usize) -> f32 {
        ((row * COLUMNS + column) as f32 * 0.37).sin()
    }

    fn bias(row: usize) -> f32 {
        row as f32 * 0.1 - 2.0
    }

    fn matrix() -> Matrix {
        let weights = (0..ROWS * COLUMNS).map(|k| weight(k / COLUMNS, k % COLUMNS));
        Matrix::read(&mut weights.chain((0..ROWS).map(bias)), ROWS, COLUMNS)
    }

    fn exact(row: usize, input: &[f32]) -> f64 {
        let products = (0..COLUMNS).map(|k| f64::from(weight(row, k)) * f64::from(input[k]));
        products.sum::<f64>() + f64::from(bias(row))
    }

    #[test]
    fn a_product_is_the_sum_of_products() {
        let input: Vec<f32> = (0..COLUMNS).map(|k| (k as f32 * 0.11).cos()).collect();
        let mut out = [0.0; ROWS];
        product(&matrix(), &input, &mut out);
        for (row, out) in out.iter().enumerate() {
            let exact = exact(row, &input);
            assert!((f64::from(*out) - exact).abs() < 1e-4, "{row}: {out} {exact}");
        }
    }

    #[test]
    fn a_convolution_is_a_product_for_each_window_and_never_below_zero() {
        const STRIDE: usize = 30;
        let input: Vec<f32> = (0..2 * STRIDE + COLUMNS).map(|k| (k as f32 * 0.11).cos()).collect();
        let mut out = [f32::NAN; 3 * ROWS];
        convolve(&matrix(), &input, STRIDE, &mut out);
        for (n, out) in out.iter().enumerate() {
            let exact = exact(n % ROWS, &input[n / ROWS * STRIDE..]).max(0.0);
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

//! Resource quantities: exact values of what Kubernetes writes as text.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/api/resource`: a decimal number and a suffix, binary
//! (`Ki`…`Ei`), decimal (`n`…`E`) or an exponent. A library would parse it too, but those there are ignore
//! trailing text and overflow on large numbers.

use std::fmt;
use std::iter::Sum;

/// An exact, non-negative quantity in units of 10⁻⁹, as fine as Kubernetes keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u128);

/// Why text is not a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It does not follow the grammar.
    #[error("must be a number with an optional suffix, such as 500m, 2, 1.5Gi or 1e3")]
    Syntax,
    /// It is more than Kubernetes can hold (2⁶³−1).
    #[error("must be at most 9223372036854775807")]
    TooLarge,
}

const NANOS: u128 = 1_000_000_000;
const MAX_UNITS: u128 = i64::MAX as u128;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// `1m`.
    pub const THOUSANDTH: Self = Self(NANOS / 1000);
    /// `1`.
    pub const ONE: Self = Self(NANOS);

    /// The sum; the largest value that there is, should it be more.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference; nothing, should it be less.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// One of `count` equal parts, rounded down; nothing of no parts.
    pub fn part(self, count: usize) -> Self {
        u128::try_from(count)
            .ok()
            .and_then(|it| self.0.checked_div(it))
            .map_or(Self::ZERO, Self)
    }

    /// Rounded down to a multiple of `grain`.
    pub fn floor(self, grain: Self) -> Self {
        let rest = self.0.checked_rem(grain.0).unwrap_or_default();
        Self(self.0.saturating_sub(rest))
    }

    /// `self` · `numerator` / `denominator`, rounded down; none if that can't be computed.
    pub fn scaled(self, numerator: Self, denominator: Self) -> Option<Self> {
        self.0
            .checked_mul(numerator.0)?
            .checked_div(denominator.0)
            .map(Self)
    }

    /// As a number, for metrics: what they hold is not exact.
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / NANOS as f64
    }

    /// Reads a quantity. What is finer than 10⁻⁹ is rounded up, as Kubernetes does.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let digits_end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at_checked(digits_end).ok_or(QuantityError::Syntax)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError::Syntax);
        }
        let multiplier = Multiplier::parse(suffix)?;
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(Self(0));
        }
        if digits.len() > 30 {
            return Err(QuantityError::TooLarge);
        }
        let mantissa: u128 = digits.parse().map_err(|_| QuantityError::Syntax)?;
        let scale = i32::try_from(fraction.len()).map_err(|_| QuantityError::TooLarge)?;
        multiplier.nanos(mantissa, scale).map(Self)
    }
}

enum Multiplier {
    Binary(u32),
    Decimal(i32),
}

impl Multiplier {
    fn parse(suffix: &str) -> Result<Self, QuantityError> {
        Ok(match suffix {
            "" => Self::Decimal(0),
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            "Ki" => Self::Binary(10),
            "Mi" => Self::Binary(20),
            "Gi" => Self::Binary(30),
            "Ti" => Self::Binary(40),
            "Pi" => Self::Binary(50),
            "Ei" => Self::Binary(60),
            _ => {
                let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Syntax)?;
                if exponent.len() > 3 {
                    return Err(QuantityError::Syntax);
                }
                Self::Decimal(exponent.parse().map_err(|_| QuantityError::Syntax)?)
            }
        })
    }

    /// `mantissa` · 10^-`scale` · self, in nanos, rounded up.
    fn nanos(&self, mantissa: u128, scale: i32) -> Result<u128, QuantityError> {
        let (mantissa, exponent) = match self {
            Self::Decimal(exponent) => (Some(mantissa), exponent.saturating_sub(scale)),
            Self::Binary(bits) => (mantissa.checked_mul(1 << bits), scale.saturating_neg()),
        };
        let mantissa = mantissa.ok_or(QuantityError::TooLarge)?;
        let exponent = exponent.saturating_add(9);
        let nanos = match u32::try_from(exponent) {
            Ok(up) => 10_u128
                .checked_pow(up)
                .and_then(|factor| mantissa.checked_mul(factor)),
            Err(_) => Some(
                10_u128
                    .checked_pow(exponent.unsigned_abs())
                    .map_or(1, |divisor| mantissa.div_ceil(divisor)),
            ),
        };
        match nanos {
            Some(nanos) if nanos / NANOS <= MAX_UNITS => Ok(nanos),
            _ => Err(QuantityError::TooLarge),
        }
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

impl fmt::Display for Amount {
    /// The exact decimal value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, rest) = (self.0 / NANOS, self.0 % NANOS);
        if rest == 0 {
            return write!(f, "{units}");
        }
        let fraction = format!("{rest:09}");
        write!(f, "{units}.{}", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, QuantityError>) {
        assert_eq!(
            Amount::parse(text).map(|it| it.to_string()),
            expected.map(str::to_owned),
            "{text}"
        );
    }

    #[test]
    fn reads_what_kubernetes_reads() {
        check("0", Ok("0"));
        check("500m", Ok("0.5"));
        check("0.5", Ok("0.5"));
        check(".5", Ok("0.5"));
        check("5.", Ok("5"));
        check("1000m", Ok("1"));
        check("1024Mi", Ok("1073741824"));
        check("1Gi", Ok("1073741824"));
        check("1.5Gi", Ok("1610612736"));
        check("1e3", Ok("1000"));
        check("1E3", Ok("1000"));
        check("12E", Err(QuantityError::TooLarge));
        check("8E", Ok("8000000000000000000"));
        check("1n", Ok("0.000000001"));
        check("1e-12", Ok("0.000000001"));
        check("9223372036854775807", Ok("9223372036854775807"));
    }

    #[test]
    fn refuses_what_kubernetes_refuses() {
        for text in [
            "", ".", "-", "-1", "+1", " 1", "1 ", "1Gx", "1gi", "1KI", "1.2.3", "abc", "e3", "1e", "1e1000",
            "0x10", "１",
        ] {
            check(text, Err(QuantityError::Syntax));
        }
        check("9223372036854775808", Err(QuantityError::TooLarge));
        check("1e99", Err(QuantityError::TooLarge));
        check(&"9".repeat(31), Err(QuantityError::TooLarge));
        check("16Ei", Err(QuantityError::TooLarge));
    }

    #[test]
    fn equal_values_are_equal_however_written() {
        assert_eq!(Amount::parse("1024Mi"), Amount::parse("1Gi"));
        assert!(Amount::parse("999m").unwrap() < Amount::parse("1").unwrap());
    }
}

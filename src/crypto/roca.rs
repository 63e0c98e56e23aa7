//! Detection of RSA keys from a vulnerable generator (ROCA, CVE-2017-15361).

/// Returns whether this big-endian modulus has the fingerprint of the generator.
///
/// Its primes are powers of 65537 modulo the product of small primes, and so is the modulus. This holds for about one in
/// 2^27 other moduli. Such a modulus can be factored, so an attacker can sign with the key.
pub(super) fn is_vulnerable(modulus: &[u8]) -> bool {
    PRIMES
        .into_iter()
        .all(|prime| is_power_of_65537(remainder(modulus, prime), prime))
}

/// The odd primes that the generator uses for keys of every size.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

fn remainder(number: &[u8], prime: u32) -> u32 {
    number.iter().fold(0, |remainder, byte| {
        ((remainder << 8) | u32::from(*byte)) % prime
    })
}

fn is_power_of_65537(number: u32, prime: u32) -> bool {
    let mut power = 1;
    loop {
        if power == number {
            return true;
        }
        power = power * 65537 % prime;
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moduli_of_the_generator_are_vulnerable() {
        // 65537 and its square are powers of 65537 modulo every prime.
        assert!(is_vulnerable(&[1, 0, 1]));
        assert!(is_vulnerable(&[1, 0, 2, 0, 1]));
        for other in [&[1, 0, 3][..], &[0xff; 256], &[1, 0, 2, 0, 3], &[]] {
            assert!(!is_vulnerable(other), "{other:02x?}");
        }
    }
}

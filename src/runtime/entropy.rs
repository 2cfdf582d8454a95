//! Chance, from one place: what spreads retries and checks over time.
//!
//! It can follow from a seed instead, so that a run of the controller in simulated time can be repeated.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A source of chance. Clones share it.
#[derive(Debug, Clone)]
pub struct Entropy(Arc<Mutex<StdRng>>);

impl Entropy {
    /// What nobody can foresee.
    pub fn of_the_system() -> Self {
        Self::from_seed(rand::random())
    }

    /// What follows from `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A number of 0 or more and less than 1.
    pub fn unit(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_numbers_of_the_unit_interval() {
        let (one, other) = (Entropy::from_seed(7), Entropy::from_seed(7));
        for _ in 0..1000 {
            let number = one.unit();
            assert!((0.0..1.0).contains(&number));
            assert_eq!(number.to_bits(), other.unit().to_bits());
        }
        assert_ne!(Entropy::of_the_system().unit().to_bits(), Entropy::of_the_system().unit().to_bits());
    }
}

//! A table by the places of connections that grows without moving what is in it: a thread with many connections would
//! otherwise hold old and half-empty copies.

/// Entries allotted at once.
const ROW: usize = 64;

/// One entry for each place.
pub(super) struct Places<T>(Vec<Box<[T; ROW]>>);

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Places<T> {
    /// How many places there are room for.
    pub(super) fn len(&self) -> usize {
        self.0.len() * ROW
    }

    pub(super) fn get_mut(&mut self, place: u32) -> &mut T {
        let place = place as usize;
        while self.len() <= place {
            self.0.push(Box::new(std::array::from_fn(|_| T::default())));
        }
        &mut self.0[place / ROW][place % ROW]
    }
}

impl<T> Places<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.0.iter().flat_map(|row| row.iter()))
    }
}

impl<T> std::ops::Index<u32> for Places<T> {
    type Output = T;

    #[inline]
    fn index(&self, place: u32) -> &T {
        &self.0[place as usize / ROW][place as usize % ROW]
    }
}

impl<T> std::ops::IndexMut<u32> for Places<T> {
    #[inline]
    fn index_mut(&mut self, place: u32) -> &mut T {
        &mut self.0[place as usize / ROW][place as usize % ROW]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_its_entry_while_the_table_grows() {
        let mut places = Places::<u32>::default();
        for place in 0..1000 {
            *places.get_mut(place) = place + 1;
        }
        assert!(places.len() >= 1000 && places.len() < 1000 + ROW);
        assert!(places.iter().take(1000).all(|(place, it)| *it == place + 1));
        places[77] = 0;
        assert_eq!((places[77], places[78]), (0, 79));
    }
}

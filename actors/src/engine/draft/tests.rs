//! Texts, and what is guessed of them.

use super::*;

fn guesses(prompt: &[u32], drawn: &[u32], count: usize) -> Vec<u32> {
    let text = Text { prompt, drawn };
    let mut drafter = Drafter::default();
    drafter.drew(text);
    drafter.drafts(text, count)
}

#[test]
fn what_followed_the_longest_and_then_the_latest_place_alike_is_guessed() {
    let cases: [(&[u32], &[u32], &[u32]); 8] = [
        (&[1, 2, 3, 4, 9, 1, 2], &[], &[3, 4, 9, 1]),
        // The same across the end of the prompt, at either place.
        (&[1, 2, 3, 4, 9, 1], &[2], &[3, 4, 9, 1]),
        (&[1], &[2, 3, 4, 9, 1, 2], &[3, 4, 9, 1]),
        // The latest of two that are alike, and the longer before the latest.
        (&[1, 2, 3, 7, 1, 2, 4, 8], &[1, 2], &[4, 8, 1, 2]),
        (&[5, 1, 2, 3, 7, 1, 2, 4, 8], &[5, 1, 2], &[3, 7, 1, 2]),
        // What repeats itself goes on with itself.
        (&[6, 1, 2], &[1, 2], &[1, 2, 1, 2]),
        (&[4, 4], &[4], &[4, 4, 4, 4]),
        // One token alike is nothing.
        (&[1, 2, 3], &[2], &[]),
    ];
    for (prompt, drawn, expected) in cases {
        assert_eq!(guesses(prompt, drawn, 4), expected, "{prompt:?} {drawn:?}");
    }
    assert!(guesses(&[1, 2, 3], &[1, 2], 0).is_empty());
    assert!(guesses(&[], &[7], 4).is_empty());
}

#[test]
fn a_long_text_is_looked_through_a_bounded_way() {
    let mut prompt = vec![1, 2, 3];
    prompt.extend(4..LOOK_BACK_MAX as u32);
    assert_eq!(guesses(&prompt, &[1, 2], 1), [3]);
    prompt.extend([0; 3]);
    assert!(guesses(&prompt, &[1, 2], 1).is_empty());
    // So many places end with the same token that the one alike is not come to.
    let mut crowd = vec![1, 2, 3];
    (0..PLACES_MAX as u32).for_each(|other| crowd.extend([9 + other, 2]));
    assert!(guesses(&crowd, &[1, 2], 1).is_empty());
    assert_eq!(guesses(&crowd[..crowd.len() - 2], &[1, 2], 1), [3]);
}

#[test]
fn odds_follow_what_came_true_and_hopes_fall_from_draft_to_draft() {
    let mut repeating = Drafter::default();
    let mut drawn = Vec::new();
    for index in 0..200u32 {
        drawn.push(index % 7);
        let prompt = &[];
        repeating.drew(Text {
            prompt,
            drawn: &drawn,
        });
    }
    let hopes = repeating.hopes(8);
    assert_eq!(hopes.len(), 8);
    assert!(
        hopes[0] > 0.95 && hopes.is_sorted_by(|a, b| a > b),
        "{hopes:?}"
    );

    // Pairs come again, and something else follows each time.
    let mut misled = Drafter::default();
    let mut drawn = Vec::new();
    for index in 0..100 {
        for id in [1, 2, 100 + index] {
            drawn.push(id);
            let prompt = &[];
            misled.drew(Text {
                prompt,
                drawn: &drawn,
            });
        }
    }
    drawn.truncate(drawn.len() - 1);
    misled.guess = None;
    misled.drew(Text {
        prompt: &[],
        drawn: &drawn,
    });
    assert!(misled.guess.is_some());
    assert!(
        misled.hopes(8).is_empty(),
        "who is always wrong drafts nothing"
    );

    repeating.bar();
    assert!(repeating.hopes(8).is_empty());
}

//! What an engine remembers, and of whom.

use super::*;

/// A request for `tokens` more after a text of so many letters, which differs by `variant` from letter `at`.
fn ask(letters: usize, at: usize, variant: usize, tokens: u32) -> Generate {
    let letter =
        |index: usize| b'a' + ((index * index + if index < at { 0 } else { variant }) % 26) as u8;
    let text = (0..letters).map(letter).map(char::from).collect();
    let mut request = generate(Prompt::Text(text), 1);
    request.tokens_max = tokens;
    request.ignore_end = true;
    request
}

/// Serves one request after the other and returns, for each, how many tokens were not evaluated again.
fn reused(desk: &mut PretendDesk, requests: &[(u8, &Generate)]) -> Vec<u64> {
    let mut out = Vec::new();
    let serve = |(index, (tenant, request)): (usize, &(u8, &Generate))| {
        let before = desk.stats().reused_tokens;
        let id = attempt(index as u8);
        desk.hear(
            Time(0),
            start_for(*tenant, id, (*request).clone(), None),
            0,
            &mut out,
        );
        while desk.step(Time(0), &mut out) {}
        let mut listener = Listener::default();
        listener.listen(&mut out);
        assert_eq!(listener.stories[&id], alone(request), "nobody can tell");
        desk.stats().reused_tokens - before
    };
    requests.iter().enumerate().map(serve).collect()
}

#[test]
fn what_was_evaluated_once_is_not_evaluated_again_but_for_the_last_token() {
    let mut desk = desk(64, 4, 2048);
    let short = ask(500, 500, 0, 10);
    let long = ask(600, 500, 0, 10);
    let other = ask(500, 300, 1, 10);
    let requests = [(0, &short), (0, &short), (0, &long), (0, &other)];
    // The last token is evaluated for its logits. Another text is the same up to letter 300.
    assert_eq!(reused(&mut desk, &requests), [0, 499, 500, 300]);
}

#[test]
fn an_answer_is_remembered_with_its_question() {
    let mut desk = desk(64, 4, 2048);
    let first = ask(100, 100, 0, 80);
    let Story { prompt, ids, .. } = alone(&first);
    let said = [&prompt.expect("it started")[..], &ids[&0], &[1, 2, 3]].concat();
    let mut second = generate(Prompt::Tokens(said), 2);
    second.tokens_max = 1;
    // The last token of the answer was drawn, and nothing evaluated after it.
    assert_eq!(reused(&mut desk, &[(0, &first), (0, &second)]), [0, 179]);
}

#[test]
fn one_tenant_does_not_meet_what_another_asked() {
    let mut desk = desk(64, 4, 2048);
    let request = ask(300, 300, 0, 5);
    let requests = [(1, &request), (2, &request), (1, &request), (2, &request)];
    assert_eq!(reused(&mut desk, &requests), [0, 0, 299, 299]);
}

#[test]
fn of_what_costs_the_same_the_oldest_is_forgotten_first_and_the_end_of_a_text_before_its_beginning()
{
    // 16 pages; the two texts fill 6 each to the last token, and the third needs 7.
    let mut desk = desk(16, 1, 1024);
    let texts = [ask(381, 0, 1, 4), ask(381, 0, 2, 4), ask(430, 0, 3, 4)];
    let requests = [
        (0, &texts[0]),
        (0, &texts[1]),
        (0, &texts[2]),
        (0, &texts[1]),
        (0, &texts[0]),
    ];
    // Of the first text the last pages had to go: three whole ones of its six are left.
    let reused = reused(&mut desk, &requests);
    assert_eq!(reused[..4], [0, 0, 0, 380]);
    assert!(
        reused[4] > 0 && reused[4] < 380 && reused[4].is_multiple_of(64),
        "{reused:?}"
    );
}

#[test]
fn a_window_keeps_its_pages_and_no_more_and_finds_them_again() {
    let (window, context) = (100, 2048);
    let mut desk = windowed(64, 1, context, window, 16);
    let request = ask(1500, 1500, 0, 40);
    let longer = ask(1600, 1500, 0, 5);
    let middle = ask(1500, 700, 1, 5);
    let again = [(0, &request), (0, &request), (0, &longer), (0, &middle)];
    let reused = reused(&mut desk, &again);
    // The windows at the end are still there; those in the middle went as others needed their pages.
    assert_eq!(reused[..3], [0, 1499, 1500]);
    assert!(reused[3] <= 700, "{reused:?}");
}

#[test]
fn a_text_of_which_windows_are_gone_is_evaluated_again_and_comes_out_the_same() {
    let mut desk = windowed(64, 1, 2048, 100, 0);
    let request = ask(1500, 1500, 0, 40);
    let other = ask(900, 0, 5, 40);
    let requests = [(0, &request), (0, &other), (0, &request)];
    assert_eq!(reused(&mut desk, &requests)[..2], [0, 0]);
}

// Rows of tabs that obey the keyboard as a screen reader's user expects: one Tab stop, arrows, Home and End.

/** Make `list` (role tablist) obey arrows; choosing a tab clicks it. Which one is chosen is `showChosen`'s to say. */
export function byArrows(list) {
  list.addEventListener('keydown', (event) => {
    const tabs = [...list.querySelectorAll('[role="tab"]:not([hidden])')];
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const chosen = tabs[(to + tabs.length) % tabs.length];
    chosen.focus();
    chosen.click();
  });
}

/** Mark the tab for which `isChosen(tab)`; it alone is reached by Tab. */
export function showChosen(list, isChosen) {
  for (const tab of list.querySelectorAll('[role="tab"]')) {
    const chosen = isChosen(tab);
    tab.setAttribute('aria-selected', String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
}

use serde_json::Value;

use super::{Page, Screen};

impl Page<'_> {
    /// Asserts what must hold for every page: it does not scroll sideways, its text has enough
    /// contrast on every kind of screen, it is accessible to screen readers, and it requests only
    /// URLs that begin with `own`.
    #[track_caller]
    pub fn is_sound(&mut self, own: &str) {
        for dark in [false, true] {
            for width in [320, 768, 1280] {
                self.look_by(Screen { width, height: 800, dark });
                self.wait_for(&format!(
                    "innerWidth === {width} && matchMedia('(prefers-color-scheme: dark)').matches === {dark}"
                ));
                let overflow = self.evaluate("document.scrollingElement.scrollWidth - innerWidth");
                assert_eq!(overflow, 0, "at {width} px the page scrolls sideways");
                let faint = self.evaluate(TOO_FAINT);
                assert_eq!(
                    faint,
                    Value::Array(Vec::new()),
                    "text with too little contrast; dark: {dark}"
                );
            }
        }
        assert_eq!(self.evaluate(UNNAMED), Value::Array(Vec::new()), "accessibility errors");
        for url in self.requests() {
            assert!(url.starts_with(own) || url.starts_with("data:"), "the page requested {url}");
        }
    }
}

/// Returns the texts whose contrast with their background is below 4.5 (WCAG 2.2, 1.4.3).
const TOO_FAINT: &str = r"(() => {
    const numbers = (colour) => { const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (node) => { for (; node; node = node.parentElement) { const c = numbers(getComputedStyle(node).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255]; };
    const faint = [];
    for (const node of document.querySelectorAll('body *')) {
        if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()) || !node.checkVisibility()) continue;
        if (node.closest('script, style, noscript, title, desc')) continue;
        const style = getComputedStyle(node);
        const [one, two] = [light(numbers(node.closest('svg') ? style.fill : style.color)), light(behind(node))];
        const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (contrast < 4.5) faint.push(`${node.textContent.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
    }
    return faint;
})()";

/// Checks landmarks, heading order, the scope of header cells, the names of plots, regions and
/// buttons, the language, and the title.
const UNNAMED: &str = r"(() => {
    const wrong = [];
    const want = (holds, what) => { if (!holds) wrong.push(what); };
    want(document.documentElement.lang && document.title, 'no language or no title');
    want(document.querySelectorAll('main').length === 1 && document.querySelector('header') && document.querySelector('footer'), 'missing landmarks');
    const levels = [...document.querySelectorAll('h1, h2, h3')].map((heading) => Number(heading.tagName[1]));
    want(levels[0] === 1 && levels.filter((level) => level === 1).length === 1, 'not exactly one h1, or not first');
    want(levels.every((level, i) => i === 0 || level - levels[i - 1] <= 1), 'headings out of order');
    for (const cell of document.querySelectorAll('th')) want(cell.scope, `th without scope: ${cell.textContent}`);
    for (const table of document.querySelectorAll('table')) want(table.caption?.textContent, 'table without caption');
    for (const svg of document.querySelectorAll('svg')) {
        const named = (svg.getAttribute('aria-labelledby') || '').split(' ').every((id) => document.getElementById(id)?.textContent);
        want(svg.getAttribute('aria-hidden') === 'true' || (svg.getAttribute('role') === 'img' && named), 'plot without a text alternative');
    }
    for (const section of document.querySelectorAll('section, [role=region], progress')) {
        const by = section.getAttribute('aria-labelledby');
        want(section.getAttribute('aria-label') || document.getElementById(by)?.textContent, 'unnamed region');
    }
    const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
    want(new Set(ids).size === ids.length, 'duplicate id');
    want(document.querySelectorAll('[aria-live], [role=status], [role=alert]').length <= 2, 'more than two live regions');
    for (const button of document.querySelectorAll('button')) {
        want(button.type === 'button' && (button.getAttribute('aria-label') || button.textContent.trim()), 'unnamed button');
    }
    return wrong;
})()";

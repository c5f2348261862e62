"""What runs inside pages: telling which element is where, finding what must be painted over, drawing drop-down lists.

Frames are asked one by one, from the outermost inwards; open shadow roots are looked into.
"""

from __future__ import annotations

# ([x, y] in CSS pixels of this frame, or null for the keyboard's focus) -> the innermost element, or null
FIND = r"""
point => {
  let e = point ? document.elementFromPoint(...point) : document.activeElement;
  while (e && e.shadowRoot) {
    const inner = point ? e.shadowRoot.elementFromPoint(...point) : e.shadowRoot.activeElement;
    if (!inner || inner === e) break;
    e = inner;
  }
  return e;
}
"""

# (element, whether the keyboard is meant) -> the fields of `screen.Target`, the box in CSS pixels of this frame
DESCRIBE = r"""
(e, byKeyboard) => {
  const CONTROLS = 'a,area,button,input,select,textarea,label,summary,option,[onclick],[contenteditable],'
    + ['button', 'link', 'menuitem', 'menuitemcheckbox', 'menuitemradio', 'tab', 'option', 'checkbox', 'radio',
       'switch', 'slider', 'textbox', 'combobox', 'searchbox', 'treeitem', 'gridcell'].map(r => `[role=${r}]`).join();
  const closest = (n, selector) => {
    for (; n; n = n.getRootNode().host) { const found = n.closest(selector); if (found) return found; }
    return null;
  };
  const short = (s, n = 200) => (s ?? '').replace(/\s+/g, ' ').trim().slice(0, n);
  const split = s => short(s).replace(/([a-z])([A-Z])/g, '$1 $2').replace(/[_\-.\/:]+/g, ' ');
  let root = closest(e, CONTROLS);
  if (!root) {
    for (let n = e; n && n !== document.body && getComputedStyle(n).cursor === 'pointer'; n = n.parentElement) root = n;
  }
  const isControl = root !== null;
  root ??= e;
  const r = root.getBoundingClientRect();
  const isSmall = !root.matches('html,body') && r.width * r.height < 0.25 * innerWidth * innerHeight;
  const control = root.matches('label') ? root.control ?? root : root;
  const type = (control.getAttribute('type') ?? '').toLowerCase();
  const tag = control.tagName.toLowerCase();
  const isText = tag === 'input' && !/^(button|submit|reset|image|checkbox|radio|range|color|file|hidden)$/.test(type);
  const isField = isText || tag === 'textarea' || control.isContentEditable === true;
  const style = getComputedStyle(control);
  const isPassword = isText && (type === 'password' || /password/.test(control.autocomplete ?? '')
    || !/^(none|)$/.test(style.webkitTextSecurity ?? ''));
  const isSubmit = tag === 'button' && (type || 'submit') === 'submit'
    || tag === 'input' && /^(submit|image)$/.test(type);
  const labels = [...(control.labels ?? [])].map(l => l.innerText);
  const named = (control.getAttribute('aria-labelledby') ?? '').split(/\s+/).filter(Boolean)
    .map(id => control.getRootNode().getElementById?.(id)?.innerText ?? '');
  const ownText = [...root.childNodes].filter(n => n.nodeType === 3).map(n => n.data).join(' ');
  const whole = tag === 'select' ? '' : root.innerText ?? root.textContent ?? '';
  let text = isField || tag === 'select' ? labels.concat(named).join(' ')
    : tag === 'input' ? (control.value || control.alt || labels.join(' ') || (isSubmit ? 'Submit' : ''))
    : isControl || isSmall && whole.length <= 200 ? whole : ownText;
  const pictures = [...root.querySelectorAll('img[alt],svg title,[aria-label],[title]')].slice(0, 20)
    .map(n => n.getAttribute('alt') ?? n.getAttribute('aria-label') ?? n.getAttribute('title') ?? n.textContent);
  const words = [...labels, ...named, ...pictures,
    ...['aria-label', 'title', 'alt', 'name', 'id', 'placeholder', 'data-action', 'value', 'formaction']
      .filter(a => !(isField && a === 'value')).map(a => control.getAttribute(a))].filter(Boolean).map(split);
  const form = control.form ?? control.closest?.('form');
  const sendsForm = form && (isSubmit || byKeyboard && isText);
  const has = selector => !!form?.querySelector(selector);
  const action = sendsForm ? (isSubmit && control.formAction) || form.action : '';
  const links = [control.href?.baseVal ?? control.href, action].filter(u => typeof u === 'string' && u);
  if (sendsForm && byKeyboard && !isSubmit) {
    const button = form.querySelector('button:not([type]),button[type=submit],input[type=submit],input[type=image]');
    if (button) words.push(split(button.innerText || button.value || button.getAttribute('aria-label')));
  }
  const search = has('input[type=search]') || form?.getAttribute('role') === 'search';
  return {
    role: root.getAttribute('role') ?? (tag === 'input' && type ? `${type} input` : tag), text: short(text),
    words: words.join('\n').slice(0, 2000), url: links[0] ?? '', extra: links.slice(1), location: location.href,
    is_password: isPassword, is_field: isField,
    sends: !!sendsForm && !search && !has('input[type=password]')
      && (form.method === 'post' || has('textarea') || has('input[type=file]')),
    pays: !!sendsForm && has('[autocomplete^="cc-"],[name*="card" i],[name*="cvv" i],[name*="iban" i]'),
    downloads: control.hasAttribute?.('download') === true, opens_files: type === 'file',
    box: [r.left, r.top, r.right, r.bottom],
  };
}
"""

# an iframe element -> how far its content is from its border box's corner, in CSS pixels
FRAME_INSET = r"""
e => {
  const s = getComputedStyle(e);
  return [e.clientLeft + parseFloat(s.paddingLeft), e.clientTop + parseFloat(s.paddingTop)];
}
"""

# whether texts are wanted too -> {fields: [[value, box, is password]], texts: [[text, box]]}, CSS pixels of this frame
SHOWN = r"""
withTexts => {
  const near = r => r.width > 0 && r.height > 0 && r.bottom > 0 && r.right > 0
    && r.top < innerHeight && r.left < innerWidth;
  const box = r => [r.left, r.top, r.right, r.bottom];
  const fields = [], texts = [];
  const visit = root => {
    for (const e of root.querySelectorAll('*')) {
      if (e.shadowRoot) visit(e.shadowRoot);
      if (!e.matches('input,textarea,select')) continue;
      const r = e.getBoundingClientRect();
      const isPassword = e.type === 'password' || /password/.test(e.autocomplete ?? '');
      if (e.value && near(r) && (withTexts || isPassword)) fields.push([e.value, box(r), isPassword]);
    }
    if (!withTexts) return;
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    for (let n = walker.nextNode(), count = 0; n && count < 5000; n = walker.nextNode(), count++) {
      if (!n.data.trim() || /^(SCRIPT|STYLE)$/.test(n.parentElement?.tagName)) continue;
      range.selectNodeContents(n);
      const r = range.getBoundingClientRect();
      if (near(r)) texts.push([n.data, box(r)]);
    }
  };
  visit(document);
  return {fields, texts};
}
"""

# In every frame, before its own scripts: drop-down lists are drawn into the page, for the browser's own are windows
# of the operating system, which no screenshot shows.
SELECT_LISTS = r"""
(() => {
  let close = null;
  const open = select => {
    const host = document.createElement('div');
    const root = host.attachShadow({mode: 'open'});
    const r = select.getBoundingClientRect();
    const below = innerHeight - r.bottom, above = r.top, up = below < 120 && above > below;
    root.innerHTML = `<style>
      div { position: fixed; z-index: 2147483647; overflow: auto; box-sizing: border-box; background: #fff; color: #000;
        border: 1px solid #555; box-shadow: 0 2px 8px #0006; font: 16px/1.2 sans-serif; cursor: default; }
      button { all: unset; display: block; box-sizing: border-box; width: 100%; padding: 6px 10px;
        white-space: nowrap; }
      button:hover, button[data-on] { background: #cde; } button:disabled { color: #999; }</style><div></div>`;
    const list = root.querySelector('div');
    list.style.left = `${r.left}px`;
    list.style.minWidth = `${r.width}px`;
    list.style.maxHeight = `${Math.max(60, (up ? above : below) - 4)}px`;
    list.style[up ? 'bottom' : 'top'] = `${up ? innerHeight - r.top : r.bottom}px`;
    for (const option of select.options) {
      const item = document.createElement('button');
      item.type = 'button';
      item.textContent = option.label || '\u00a0';
      item.disabled = option.disabled;
      item.toggleAttribute('data-on', option.selected);
      item.addEventListener('click', () => {
        select.value = option.value;
        option.selected = true;
        for (const kind of ['input', 'change']) select.dispatchEvent(new Event(kind, {bubbles: true}));
        close?.();
      });
      list.append(item);
    }
    const outside = event => { if (!event.composedPath().includes(host)) close?.(); };
    close = () => { host.remove(); removeEventListener('mousedown', outside, true); close = null; };
    document.documentElement.append(host);
    addEventListener('mousedown', outside, true);
  };
  addEventListener('mousedown', event => {
    const select = event.composedPath()[0]?.closest?.('select');
    if (!select || select.disabled || select.multiple || select.size > 1 || event.button) return;
    event.preventDefault();
    const isOpen = close !== null;
    close?.();
    select.focus();
    if (!isOpen) open(select);
  }, true);
})();
"""

/** All that the page's script does: sorts a table by a column, by mouse or keyboard. Without it the page says the same. */
export const SCRIPT = `
for (const button of document.querySelectorAll('thead button')) {
  button.addEventListener('click', () => {
    const head = button.closest('th');
    const body = head.closest('table').tBodies[0];
    const at = head.cellIndex;
    const was = head.getAttribute('aria-sort');
    const up = was === null ? !head.classList.contains('number') && !head.classList.contains('time') : was === 'descending';
    for (const other of head.parentNode.children) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const keyOf = (row) => row.cells[at].dataset.o ?? row.cells[at].textContent;
    const isNumber = head.classList.contains('number');
    const rows = [...body.rows].map((row) => [keyOf(row), row]);
    rows.sort(([a], [b]) => (isNumber ? Number(a) - Number(b) : a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1));
    body.append(...rows.map(([, row]) => row));
  });
}
`;

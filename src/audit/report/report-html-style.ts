/** Colours first: every text on its ground has a contrast of at least 4.5, and no meaning hangs on colour alone. */
export const STYLE = `
:root{color-scheme:light dark;--ground:#f6f7f8;--sheet:#fff;--ink:#171b21;--soft:#566070;--line:#dfe3e8;--faint:#eef0f3;
--allow:#1c6e8c;--allow-soft:#cfe4ec;--refuse:#b3261e;--refuse-soft:#fbe4e1;--fail:#8a5a00;--fail-soft:#f8ecd2;--link:#175a73;
--h1:#e6f1f5;--h2:#c9e2ea;--h3:#9fcbda;--h4:#6bacc2;--h5:#2a7694;--h6:#14566f;--hi:#171b21;--hj:#fff;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media(prefers-color-scheme:dark){:root{--ground:#0e1217;--sheet:#151a21;--ink:#e7ebf0;--soft:#9ba7b6;--line:#2b333e;--faint:#1c222b;
--allow:#5bb9d3;--allow-soft:#17323c;--refuse:#ff8d83;--refuse-soft:#3d1a18;--fail:#e6b450;--fail-soft:#352913;--link:#7acce2;
--h1:#16262e;--h2:#173542;--h3:#1a4a5d;--h4:#20657f;--h5:#3d9ab8;--h6:#8ad3e8;--hi:#e7ebf0;--hj:#0b1216}}
*{box-sizing:border-box}
html{scroll-padding-top:3.5rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 var(--sans);font-variant-numeric:tabular-nums}
main,.head,nav ol{max-width:1360px;margin:0 auto;padding:0 clamp(1rem,3vw,2.5rem)}
.head{padding-top:2.5rem;padding-bottom:1.25rem}
.brand{margin:0;color:var(--soft);font-size:.8rem;font-weight:600;letter-spacing:.08em;text-transform:uppercase}
h1{margin:.15rem 0 .35rem;font-size:clamp(1.75rem,4vw,2.4rem);line-height:1.15;letter-spacing:-.02em;font-weight:680}
.period{margin:0;font-size:1.1rem}
.facts{display:flex;flex-wrap:wrap;gap:.2rem 1.75rem;margin:.9rem 0 0;color:var(--soft);font-size:.86rem}
.facts div{display:flex;gap:.45em}.facts dt{font-weight:600}.facts dd{margin:0;overflow-wrap:anywhere}
nav{position:sticky;top:0;z-index:5;background:var(--ground);border-block:1px solid var(--line)}
nav ol{display:flex;gap:.1rem;margin-block:0;list-style:none;overflow-x:auto;scrollbar-width:thin}
nav a{display:block;padding:.6rem .65rem;color:var(--soft);font-size:.84rem;text-decoration:none;white-space:nowrap}
nav li:first-child a{padding-left:0}
nav a:hover{color:var(--ink);text-decoration:underline}
a{color:var(--link)}
:focus-visible{outline:2px solid var(--allow);outline-offset:2px}
section{margin:2.75rem 0 0}
h2{margin:0 0 .9rem;font-size:1.35rem;letter-spacing:-.012em;line-height:1.25;font-weight:660}
h3{margin:1.6rem 0 .15rem;font-size:1rem;line-height:1.3;font-weight:640}
h3 .n{color:var(--soft);font-weight:400}
.note{margin:0 0 .6rem;color:var(--soft);font-size:.875rem;max-width:78ch}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(max(9.5rem,22%),1fr));gap:1px;margin:1.75rem 0 0;background:var(--line);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.tile{padding:1rem 1.1rem;background:var(--sheet)}
.tile dt{color:var(--soft);font-size:.82rem}.tile dd{margin:0}
.tile .big{font-size:1.75rem;line-height:1.2;font-weight:660;letter-spacing:-.02em}
.tile .sub{color:var(--soft);font-size:.82rem}.tile .bad{color:var(--refuse)}
.findings{margin:0;padding:0;list-style:none;background:var(--sheet);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.findings li{display:grid;grid-template-columns:6.2rem minmax(0,1fr);gap:.1rem 1rem;padding:.85rem 1.1rem .9rem}
.findings li+li{border-top:1px solid var(--line)}
.findings p{margin:0;overflow-wrap:anywhere}
.findings .what{font-weight:620}.findings .seen{color:var(--soft);font-size:.9rem}.findings .do{margin-top:.3rem;font-size:.9rem}
.mark{align-self:start;display:inline-flex;align-items:center;gap:.4em;justify-self:start;padding:.1rem .5rem;border-radius:5px;font-size:.76rem;font-weight:650;line-height:1.5}
.high{background:var(--refuse-soft);color:var(--refuse)}.medium{background:var(--fail-soft);color:var(--fail)}.low{background:var(--faint);color:var(--soft)}
.chart{margin:0;padding:1rem 1.1rem;background:var(--sheet);border:1px solid var(--line);border-radius:10px}
.chart+.chart{margin-top:.9rem}
.panel+.panel{margin-top:.7rem}
.panel .top{display:flex;gap:1rem;margin-bottom:.15rem;justify-content:space-between;color:var(--soft);font-size:.78rem}
.panel .top b{color:var(--ink);font-weight:620}
.panel svg{display:block;width:100%;height:9.5rem;border-top:1px dashed var(--line);border-bottom:1px solid var(--soft)}
.panel.small svg{height:4.75rem}
.ticks{display:flex;justify-content:space-between;margin:.25rem 0 0;color:var(--soft);font-size:.78rem}
.swatch{display:inline-block;width:.7em;height:.7em;margin-right:.3em;border-radius:2px}.swatch.refuse{background:var(--refuse)}.swatch.fail{background:var(--fail)}
.allow{fill:var(--allow)}.refuse{fill:var(--refuse)}.fail{fill:var(--fail)}
.bars{display:grid;grid-template-columns:max-content minmax(3rem,1fr) max-content;gap:.3rem .8rem;align-items:center;margin:0;font-size:.88rem}
.bars svg{display:block;width:100%;height:.85rem;background:var(--faint);border-radius:2px}
.bars .v{text-align:right}.bars .v small{color:var(--soft)}
details{margin-top:.6rem;font-size:.88rem}summary{cursor:pointer;color:var(--link);width:max-content}
.table{max-height:32rem;overflow:auto;background:var(--sheet);border:1px solid var(--line);border-radius:8px}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:.84rem}
th,td{padding:.36rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--faint);unicode-bidi:isolate}
tbody tr:last-child>*{border-bottom:0}
thead th{position:sticky;top:0;z-index:2;background:var(--sheet);border-bottom:1px solid var(--line);color:var(--soft);font-weight:600;white-space:nowrap}
thead button{all:unset;cursor:pointer;color:inherit}thead button:hover{color:var(--ink)}thead button:focus-visible{outline:2px solid var(--allow);outline-offset:2px}
thead button::after{content:"\\2195";margin-left:.35em;opacity:.35}
[aria-sort=ascending] button::after{content:"\\2191";opacity:1}[aria-sort=descending] button::after{content:"\\2193";opacity:1}
.name{overflow-wrap:break-word;min-width:5rem}
td.name{font-family:var(--mono);font-size:.78rem;line-height:1.6}
.text{overflow-wrap:anywhere;min-width:7rem}
.number{text-align:right;white-space:nowrap}.time{white-space:nowrap}
tbody tr:hover>*{background:var(--faint)}
.printed{display:none;margin:.2rem 0 0;color:var(--soft);font-size:.85em}
.none{margin:.2rem 0 0;color:var(--soft)}
.matrix{max-height:none;overflow-x:auto}
@media screen and (min-height:700px){.matrix{max-height:calc(100vh - 6rem);overflow:auto}}
.matrix table{width:auto;min-width:100%;font-size:.7rem}
.matrix th,.matrix td{padding:0;border:0}
.matrix thead th{height:7.5rem;vertical-align:bottom;border-bottom:1px solid var(--line);font-weight:500}
.matrix thead th span{display:inline-block;writing-mode:vertical-rl;transform:rotate(180deg);max-height:7.2rem;overflow:hidden;text-overflow:ellipsis;padding:.15rem 0;white-space:nowrap;font-family:var(--mono);color:var(--ink)}
.matrix thead th:not(:first-child){text-align:center}
.matrix thead th:first-child{left:0;z-index:3;padding:0 .7rem .4rem;width:15.5rem;min-width:15.5rem}
.matrix tbody th{position:sticky;left:0;z-index:1;background:var(--sheet);font-weight:400;font-family:var(--mono);font-size:.7rem;white-space:nowrap;max-width:15.5rem;overflow:hidden;text-overflow:ellipsis;padding:0 .7rem;height:1.28rem;line-height:1.28rem}
.matrix .group th{padding-top:.7rem;height:auto;font-family:var(--sans);font-size:.76rem;font-weight:650;color:var(--ink)}
.matrix .group td{background:none}
.matrix td{min-width:1.95rem;height:1.28rem;line-height:1.28rem;text-align:center;white-space:nowrap;position:relative;background-clip:padding-box;border:1px solid transparent;border-width:0 1px 1px 0}
.matrix td:empty{background-color:var(--faint)}
.matrix .group td:empty{background:none}
.h1{background-color:var(--h1);color:var(--hi)}.h2{background-color:var(--h2);color:var(--hi)}.h3{background-color:var(--h3);color:var(--hi)}
.h4{background-color:var(--h4);color:var(--hk,var(--hi))}.h5{background-color:var(--h5);color:var(--hj)}.h6{background-color:var(--h6);color:var(--hj)}
.no{background-color:var(--refuse-soft);color:var(--refuse);font-weight:650}
.some::after{content:"";position:absolute;top:0;right:0;border:.24rem solid transparent;border-top-color:var(--refuse);border-right-color:var(--refuse)}
.some.h5::after,.some.h6::after{border-top-color:var(--mark,#ffb4ab);border-right-color:var(--mark,#ffb4ab)}
@media(prefers-color-scheme:dark){:root{--mark:#7a0f08}}
.matrix tbody tr:hover>*{background-color:revert-layer}.matrix tbody tr:hover th{background:var(--faint)}
.key{display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;margin:0 0 .7rem;color:var(--soft);font-size:.8rem;align-items:center}
.key span{display:inline-flex;align-items:center;gap:.4em}
.key i{display:inline-block;position:relative;min-width:1.95rem;height:1.2rem;line-height:1.2rem;text-align:center;font-style:normal;font-size:.7rem}
footer{max-width:1360px;margin:3rem auto 0;padding:1.25rem clamp(1rem,3vw,2.5rem) 3rem;border-top:1px solid var(--line);color:var(--soft);font-size:.85rem}
@media(max-width:640px){body{font-size:14.5px}.tiles{grid-template-columns:1fr 1fr}.tile{padding:.75rem .85rem}.tile .big{font-size:1.4rem}
.findings li{grid-template-columns:1fr;padding:.8rem .9rem}.mark{margin-bottom:.25rem}.ticks span:nth-child(even){display:none}
.panel svg{height:7rem}.table{max-height:24rem}.matrix thead th:first-child,.matrix tbody th{width:9.6rem;min-width:9.6rem;max-width:9.6rem;padding-left:.5rem;padding-right:.3rem}.matrix tbody th{font-size:.6rem}
th,td{padding:.34rem .5rem}.bars{grid-template-columns:max-content minmax(2rem,1fr) max-content;font-size:.82rem;gap:.3rem .5rem}.bars .v small{display:block}}
@page{size:A4;margin:14mm 12mm}
@page wide{size:A4 landscape;margin:10mm}
@media print{:root{color-scheme:light;--ground:#fff;--sheet:#fff;--ink:#000;--soft:#444;--line:#bbb;--faint:#f0f0f0;--allow:#1c6e8c;--refuse:#a31810;--refuse-soft:#fbe4e1;--fail:#7a4f00;--fail-soft:#f8ecd2;--link:#000;
--h1:#e6f1f5;--h2:#c9e2ea;--h3:#9fcbda;--h4:#6bacc2;--h5:#2a7694;--h6:#14566f;--hi:#000;--hj:#fff;--mark:#ffb4ab}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
body{font-size:9.5pt}nav,thead button::after,.key .screen{display:none}
main,.head,footer{max-width:none;padding-inline:0}.head{padding-top:0}
.table,.matrix{max-height:none;overflow:visible;border-radius:0}.table{border-width:1px 0}
thead{display:table-header-group}thead th{position:static}tr,.findings li,.tile,.chart{break-inside:avoid}h2,h3,.note{break-after:avoid}
section{margin-top:1.6rem}table{font-size:7.4pt}td.name{font-size:6.6pt;min-width:0}.text{min-width:0}th,td{padding:.15rem .3rem}.printed{display:block}.rows tr:nth-child(n+61){display:none}
.wide{page:wide;margin-top:0}.matrix tbody th{position:static;font-size:5.6pt;height:.76rem;line-height:.76rem;min-width:0;max-width:12rem}
.matrix td{font-size:5.6pt;min-width:1.45rem;height:.76rem;line-height:.76rem}.matrix thead th:first-child{min-width:0;width:12rem}.matrix thead th{height:5.4rem}.matrix .group th{padding-top:.1rem;font-size:6.2pt;line-height:.9rem}
a{text-decoration:none}a[href^="#"]::after{content:""}details{display:none}}
`;

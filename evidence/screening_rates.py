"""draft"""
from __future__ import annotations
import argparse, json, os, sys, time
from pathlib import Path
from evidence._rate_recipes import recipes
from evidence._rate_run import Bench, clean_of, VERDICTS

p=argparse.ArgumentParser(); p.add_argument("--population",default="test"); p.add_argument("--results",type=Path); p.add_argument("--per-kind",type=int,default=25)
p.add_argument("--only",choices=("train","screen")); p.add_argument("--kinds",default="")
g=p.parse_args()
shared=Path(os.environ.get("SHARED_DATA", Path(__file__).resolve().parent.parent.parent/"shared"/"data"))
b=Bench(g.results/g.population, shared/"models/llama2xs-280K-hf", shared)
vf=b.folder/VERDICTS
done={json.loads(l)["name"] for l in vf.read_text().splitlines()} if vf.exists() else set()
for r in recipes(g.population,g.per_kind):
    if g.kinds and r.kind not in g.kinds.split(','): continue
    w=time.time(); t=0.0
    if g.only!="screen": t=b.train(r)
    if g.only=="train":
        if t: print(r.name,r.base,r.style,r.rank,r.steps,f"train cpu {t:.1f}s wall {time.time()-w:.1f}",flush=True)
        continue
    if r.name in done: continue
    v=b.screen(r,clean_of(r))
    with vf.open("a") as h: h.write(json.dumps(v)+"\n")
    print(r.name,r.base,r.style,f"train {t:.1f} screen {v['cpu_s']} wall {time.time()-w:.1f} effect {v['effect']}",v["failed"] or v["refused"],flush=True)
b.close()

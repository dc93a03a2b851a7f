// Where cards stand: dagre, once per plan. Cards have one size, so that no number ever moves them.
import { layout as place, Graph } from "dagre";

export const CARD = { width: 200, height: 112 };
const known = new Map();

export const layout = (plan, direction) => {
  const name = `${plan.plan_hash} ${direction}`;
  if (!known.has(name)) known.set(name, compute(plan, direction));
  return known.get(name);
};

const compute = (plan, direction) => {
  const graph = new Graph();
  graph.setGraph({ rankdir: direction, nodesep: 28, ranksep: direction === "LR" ? 110 : 56, marginx: 12, marginy: 12 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of plan.nodes) graph.setNode(node.id, { ...CARD });
  for (const edge of plan.edges) graph.setEdge(edge.source, edge.target, {});
  place(graph);
  const { width, height } = graph.graph();
  const nodes = new Map(plan.nodes.map((node) => [node.id, graph.node(node.id)]));
  const edges = new Map(plan.edges.map((edge) => [edge.id, graph.edge(edge.source, edge.target).points]));
  return { width, height, nodes, edges };
};

// The plan's nodes from sources to sinks, each with its depth.
export const inOrder = (plan) => {
  const depth = new Map(plan.nodes.map((node) => [node.id, 0]));
  for (let round = 0; round < plan.nodes.length; round += 1) {
    let moved = false;
    for (const { source, target } of plan.edges) {
      if (depth.get(target) <= depth.get(source)) {
        depth.set(target, depth.get(source) + 1);
        moved = true;
      }
    }
    if (!moved) break;
  }
  return [...plan.nodes].sort((a, b) => depth.get(a.id) - depth.get(b.id)).map((node) => ({ node, depth: depth.get(node.id) }));
};

// Where cards stand: dagre, once per plan and direction. Cards have one size, so that no number ever moves them,
// and the places of their labels are part of the layout, so that nothing covers them.
import { layout as place, Graph } from "dagre";

export const CARD = { width: 208, height: 130 };
const LABEL = { width: 112, height: 44, labelpos: "c" };
const known = new Map();

export const layout = (plan, direction) => {
  const name = `${plan.plan_hash} ${direction}`;
  if (!known.has(name)) known.set(name, compute(plan, direction));
  return known.get(name);
};

// From left to right where that fits, or nearly; else from top to bottom; else whatever is the narrower.
const READABLE = 0.85;
export const fitting = (plan, width) => {
  const wide = layout(plan, "LR");
  if (wide.width * READABLE <= width) return wide;
  const tall = layout(plan, "TB");
  return tall.width < wide.width ? tall : wide;
};

const compute = (plan, direction) => {
  const graph = new Graph();
  graph.setGraph({ rankdir: direction, nodesep: 28, ranksep: 24, marginx: 6, marginy: 6 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of plan.nodes) graph.setNode(node.id, { ...CARD });
  for (const edge of plan.edges) graph.setEdge(edge.source, edge.target, { ...LABEL });
  place(graph);
  const { width, height } = graph.graph();
  const nodes = new Map(plan.nodes.map((node) => [node.id, graph.node(node.id)]));
  const edges = new Map(plan.edges.map((edge) => [edge.id, graph.edge(edge.source, edge.target)]));
  return { direction, width, height, nodes, edges };
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

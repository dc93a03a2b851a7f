"""For Prometheus and Grafana: scrape configuration, alert rules, dashboard."""

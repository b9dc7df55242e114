//! **Act**: one thin actor per chart.
